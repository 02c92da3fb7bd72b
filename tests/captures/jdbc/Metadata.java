// Calls every method of DatabaseMetaData that asks the server something, for several schemas and tables, and prints what came back.

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

public class Metadata {
    // Catalog, schema, name, and whatever stands behind them.
    static final String[][] WORDS = {
        {null, null, "%", "%", "%", "%"},
        {null, "app", "customers", "%", "app", "bookings"},
        {null, "app", "bookings", null, "app", "customers"},
        {null, "Odd \"Name\"", "Select", "%", "public", "orders"},
        {null, "pg_catalog", "pg_class", "oid", "pg_catalog", "pg_type"},
        {null, "app", "%", null, null, null},
    };

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(
                System.getenv("JDBC_URL"), System.getenv("JDBC_USER"), System.getenv("JDBC_PASSWORD"))) {
            DatabaseMetaData data = connection.getMetaData();
            Method[] methods = DatabaseMetaData.class.getMethods();
            Arrays.sort(methods, Comparator.comparing(Method::toString));
            for (Method method : methods) {
                for (int words = 0; words < (method.getParameterCount() == 0 ? 1 : WORDS.length); words++) {
                    print(method, words, data);
                }
            }
        }
    }

    static void print(Method method, int words, DatabaseMetaData data) {
        List<Object> values = new ArrayList<>();
        int place = 0;
        for (Class<?> kind : method.getParameterTypes()) {
            if (kind == String.class) {
                values.add(WORDS[words][place++]);
            } else if (kind == boolean.class) {
                values.add(words % 2 == 0);
            } else if (kind == int.class) {
                values.add(1);
            } else {
                values.add(null);
            }
        }
        String name = method.getName() + " " + method.getParameterCount() + " " + words;
        try {
            Object outcome = method.invoke(data, values.toArray());
            System.out.println(name + "\t" + (outcome instanceof ResultSet rows ? text(rows) : ("" + outcome).replaceAll("\\s+", " ")));
        } catch (InvocationTargetException failed) {
            System.out.println(name + "\tfailed: " + failed.getCause().getMessage().replaceAll("\\s+", " "));
        } catch (Exception failed) {
            System.out.println(name + "\tfailed: " + failed);
        }
    }

    static String text(ResultSet rows) throws Exception {
        List<String> lines = new ArrayList<>();
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            StringBuilder line = new StringBuilder();
            for (int column = 1; column <= columns; column++) {
                line.append(rows.getString(column)).append('|');
            }
            lines.add(line.toString().replaceAll("\\s+", " "));
        }
        rows.close();
        return lines.size() + " rows " + Integer.toHexString(lines.hashCode()) + " " + (lines.isEmpty() ? "" : lines.get(0));
    }
}
