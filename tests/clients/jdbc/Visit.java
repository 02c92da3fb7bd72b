// What a JDBC program does, one named step after another; each prints "name<TAB>outcome". The tests judge.
// Run as: java -cp postgresql.jar Visit.java read|write|limits|metadata, with JDBC_URL, JDBC_USER and JDBC_PASSWORD in the environment.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;

public class Visit {
    interface Step {
        Object run(Connection connection) throws Exception;
    }

    static void step(String name, Properties more, Step step) {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("JDBC_USER"));
        properties.setProperty("password", System.getenv("JDBC_PASSWORD"));
        properties.putAll(more);
        String outcome;
        try (Connection connection = DriverManager.getConnection(System.getenv("JDBC_URL"), properties)) {
            outcome = String.valueOf(step.run(connection));
        } catch (Exception failure) {
            outcome = "failed: " + said(failure);
        }
        System.out.println(name + "\t" + outcome.replace("\n", " "));
    }

    static void step(String name, Step step) {
        step(name, new Properties(), step);
    }

    static Properties with(String name, String value) {
        Properties properties = new Properties();
        properties.setProperty(name, value);
        return properties;
    }

    static String said(Exception failure) {
        return failure instanceof SQLException sql ? sql.getSQLState() + " " + failure.getMessage() : failure.toString();
    }

    static String refused(Connection connection, String sql) {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
            return "NOT REFUSED";
        } catch (SQLException failure) {
            return failure.getSQLState();
        }
    }

    static String value(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static int count(ResultSet rows) throws SQLException {
        int found = 0;
        while (rows.next()) {
            found++;
        }
        return found;
    }

    static final String LARGE = "SELECT g, repeat('x', 200) FROM generate_series(1, 40000) g";
    static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    static final String INSERT = "INSERT INTO scratch VALUES (1, 'jdbc', 'no')";

    public static void main(String[] arguments) {
        switch (arguments[0]) {
            case "read" -> read();
            case "write" -> write();
            case "limits" -> limits();
            default -> metadata();
        }
    }

    // Under a grant of at most 100 rows a statement and five sessions.
    static void limits() {
        step("few rows by fetch size", c -> fetched(c, 100, 30));
        step("many rows by fetch size", c -> fetched(c, 1000, 30));
        step("many rows at once", c -> fetched(c, 1000, 0));
        step("many rows, first fifty", c -> {
            try (Statement statement = c.createStatement()) {
                statement.setMaxRows(50);
                return count(statement.executeQuery(rows(1000)));
            }
        });
        step("copy out", c -> {
            StringWriter copied = new StringWriter();
            String outcome = "copied";
            try {
                c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (" + rows(1000) + ") TO STDOUT", copied);
            } catch (SQLException failure) {
                outcome = failure.getSQLState();
            }
            return copied.toString().lines().count() + " rows, " + outcome + ", " + value(c, "SELECT 'after'");
        });
        step("as many connections as a tool opens", c -> {
            Properties login = with("user", System.getenv("JDBC_USER"));
            login.setProperty("password", System.getenv("JDBC_PASSWORD"));
            String url = System.getenv("JDBC_URL");
            List<Connection> opened = new ArrayList<>();
            try {
                for (int number = 2; number <= 5; number++) {
                    opened.add(DriverManager.getConnection(url, login));
                }
                String outcome = "a sixth";
                try {
                    opened.add(DriverManager.getConnection(url, login));
                } catch (SQLException failure) {
                    outcome = failure.getSQLState();
                }
                opened.remove(0).close();
                opened.add(again(url, login)); // "Test connection"
                for (Connection each : opened) {
                    outcome += " " + value(each, "SELECT 'there'");
                }
                return outcome;
            } finally {
                for (Connection each : opened) {
                    each.close();
                }
            }
        });
    }

    static String rows(int number) {
        return "SELECT g FROM generate_series(1, " + number + ") g";
    }

    // The gateway may hear of the one that was closed a moment later.
    static Connection again(String url, Properties login) throws Exception {
        for (int attempt = 0; attempt < 50; attempt++) {
            try {
                return DriverManager.getConnection(url, login);
            } catch (SQLException failure) {
                Thread.sleep(100);
            }
        }
        return DriverManager.getConnection(url, login);
    }

    static String fetched(Connection connection, int number, int size) throws SQLException {
        connection.setAutoCommit(false);
        int found = 0;
        String outcome = "all";
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(size);
            ResultSet rows = statement.executeQuery(rows(number));
            while (rows.next()) {
                found++;
            }
        } catch (SQLException failure) {
            outcome = failure.getSQLState();
        }
        connection.rollback();
        return found + " rows, " + outcome + ", " + value(connection, "SELECT 'after'");
    }

    static void read() {
        step("select", c -> value(c, "SELECT 'hello'"));
        step("denial", c -> refused(c, INSERT) + ", then " + value(c, "SELECT 'still here'"));
        step("denial, prepared", c -> {
            try (PreparedStatement statement = c.prepareStatement("INSERT INTO scratch VALUES (?, 'jdbc')")) {
                statement.setInt(1, 1);
                statement.executeUpdate();
                return "NOT REFUSED";
            } catch (SQLException failure) {
                return failure.getSQLState() + ", then " + value(c, "SELECT 'still here'");
            }
        });
        step("aborted transaction", c -> {
            c.setAutoCommit(false);
            String codes = refused(c, INSERT) + " " + refused(c, "SELECT 1");
            c.rollback();
            return codes + " " + value(c, "SELECT 'after'");
        });
        step("autosave", with("autosave", "always"), c -> {
            c.setAutoCommit(false);
            return refused(c, INSERT) + " " + value(c, "SELECT 'after'");
        });
        step("several statements at once", c -> {
            try (Statement statement = c.createStatement()) {
                statement.execute("SELECT 1; SELECT 2");
                statement.getMoreResults();
                return count(statement.getResultSet()) + " " + refused(c, "SELECT 1; " + INSERT);
            }
        });
        step("prepared after five uses", c -> {
            try (PreparedStatement statement = c.prepareStatement("SELECT ?::int * 2, ?::text")) {
                int sum = 0;
                for (int use = 0; use < 20; use++) {
                    statement.setInt(1, use);
                    statement.setString(2, "x");
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        sum += rows.getInt(1);
                    }
                }
                return sum + " " + value(c, "SELECT count(*) > 0 FROM pg_prepared_statements");
            }
        });
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            step("query mode " + mode, with("preferQueryMode", mode), c -> {
                try (PreparedStatement statement = c.prepareStatement("SELECT ? || 'b'")) {
                    statement.setString(1, "a");
                    ResultSet rows = statement.executeQuery();
                    rows.next();
                    return rows.getString(1) + " " + refused(c, INSERT) + " " + value(c, "SELECT 'after'");
                }
            });
        }
        for (String mode : new String[] {"simple", "extended", "extendedCacheEverything"}) {
            step("asking the gateway " + mode, with("preferQueryMode", mode), c -> {
                c.setAutoCommit(false);
                String found = "";
                try (PreparedStatement statement = c.prepareStatement("SHOW pgbastion.grants")) {
                    statement.setFetchSize(1);
                    for (int use = 0; use < 10; use++) {
                        try (ResultSet rows = statement.executeQuery()) {
                            ResultSetMetaData columns = rows.getMetaData();
                            rows.next();
                            found = rows.getString("mode") + " " + columns.getColumnTypeName(columns.getColumnCount() - 1);
                        }
                    }
                }
                c.commit();
                return found + " " + refused(c, "SELECT pgbastion.request('read_write', target => 'nowhere')");
            });
        }
        step("large result", c -> {
            try (Statement statement = c.createStatement()) {
                return count(statement.executeQuery(LARGE));
            }
        });
        step("large result by fetch size", c -> {
            c.setAutoCommit(false);
            try (Statement statement = c.createStatement()) {
                statement.setFetchSize(500);
                return count(statement.executeQuery(LARGE));
            }
        });
        step("max rows", c -> {
            try (Statement statement = c.createStatement()) {
                statement.setMaxRows(10);
                return count(statement.executeQuery(LARGE));
            }
        });
        step("types", Visit::types);
        step("cancel", c -> {
            try (Statement statement = c.createStatement()) {
                Thread canceller = new Thread(() -> {
                    try {
                        Thread.sleep(400);
                        statement.cancel();
                    } catch (Exception ignored) {
                        // the outcome tells
                    }
                });
                canceller.start();
                String code = null;
                try {
                    statement.executeQuery(ENDLESS);
                } catch (SQLException cancelled) {
                    code = cancelled.getSQLState();
                }
                canceller.join();
                return code + " " + value(c, "SELECT 'after'");
            }
        });
        step("query timeout", c -> {
            try (Statement statement = c.createStatement()) {
                statement.setQueryTimeout(1);
                statement.executeQuery(ENDLESS);
                return "NOT ENDED";
            } catch (SQLException ended) {
                return ended.getSQLState() + " " + value(c, "SELECT 'after'");
            }
        });
        step("read only", c -> {
            c.setReadOnly(true);
            c.setAutoCommit(false);
            String first = value(c, "SHOW transaction_read_only");
            c.commit();
            c.setReadOnly(false);
            String second = value(c, "SHOW transaction_read_only");
            c.commit();
            return first + " " + second + " " + refused(c, INSERT);
        });
        for (String mode : new String[] {"ignore", "transaction", "always"}) {
            step("read only mode " + mode, with("readOnlyMode", mode), c -> {
                c.setReadOnly(true);
                String first = value(c, "SHOW transaction_read_only");
                c.setReadOnly(false);
                return first + " " + value(c, "SHOW transaction_read_only");
            });
        }
        step("isolation", c -> {
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            return value(c, "SHOW transaction_isolation");
        });
        step("copy out", c -> {
            StringBuilder copied = new StringBuilder();
            c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY hr.people TO STDOUT", new java.io.Writer() {
                @Override public void write(char[] from, int start, int length) {
                    copied.append(from, start, length);
                }

                @Override public void flush() {}

                @Override public void close() {}
            });
            return copied.length();
        });
        step("large object", c -> {
            c.setAutoCommit(false);
            return c.unwrap(PGConnection.class).getLargeObjectAPI().open(424242L).size();
        });
        step("schema and network", c -> {
            c.setSchema("public");
            return c.getSchema() + " " + c.isValid(2) + " " + c.getClientInfo("ApplicationName");
        });
        step("client info", with("ApplicationName", "my tool"), c -> {
            c.setClientInfo("ApplicationName", "another name");
            return value(c, "SHOW application_name").endsWith(" another name");
        });
        step("assume minimal version", with("assumeMinServerVersion", "9.4"), c -> value(c, "SELECT 'hello'"));
    }

    static Object types(Connection connection) throws SQLException {
        String sql = "SELECT ?::int8, ?::numeric, ?::text, ?::bytea, ?::uuid, ?::timestamptz, ?::int[], ?::jsonb, feeling, home, span"
            + " FROM every_type WHERE id = ? AND feeling = ?::mood";
        UUID key = UUID.fromString("00112233-4455-6677-8899-aabbccddeeff");
        OffsetDateTime instant = OffsetDateTime.parse("2024-02-29T12:34:56.789012Z");
        String seen = "";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int use = 0; use < 12; use++) {  // text at first, binary after the fifth
                statement.setLong(1, 1L << 40);
                statement.setBigDecimal(2, new BigDecimal("1.10"));
                statement.setString(3, "Grüße");
                statement.setBytes(4, new byte[] {0, -1});
                statement.setObject(5, key);
                statement.setObject(6, instant);
                statement.setArray(7, connection.createArrayOf("int4", new Object[] {1, null}));
                statement.setString(8, "{\"a\": 1}");
                statement.setInt(9, 1);
                statement.setString(10, "ok");
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    Array numbers = rows.getArray(7);
                    seen = rows.getLong(1) + "|" + rows.getBigDecimal(2) + "|" + rows.getString(3) + "|" + rows.getBytes(4).length
                        + "|" + rows.getObject(5) + "|" + rows.getObject(6, OffsetDateTime.class).toInstant() + "|" + numbers
                        + "|" + rows.getString(8) + "|" + rows.getString(9) + "|" + rows.getString(10) + "|" + rows.getObject(11);
                }
            }
        }
        return seen;
    }

    static void write() {
        step("batch", c -> {
            try (PreparedStatement statement = c.prepareStatement("INSERT INTO scratch VALUES (?, 'jdbc', ?)")) {
                for (int id = 100; id < 400; id++) {
                    statement.setInt(1, id);
                    statement.setString(2, "batch");
                    statement.addBatch();
                }
                return statement.executeBatch().length;
            }
        });
        step("batch, rewritten", with("reWriteBatchedInserts", "true"), c -> {
            try (PreparedStatement statement = c.prepareStatement("INSERT INTO scratch VALUES (?, 'jdbc', ?)")) {
                for (int id = 400; id < 500; id++) {
                    statement.setInt(1, id);
                    statement.setString(2, "rewritten");
                    statement.addBatch();
                }
                return statement.executeBatch().length;
            }
        });
        step("copy in", c -> c.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("COPY scratch FROM STDIN", new StringReader("20\tjdbc\tcopied\n")));
        step("generated keys", c -> {
            String sql = "INSERT INTO scratch VALUES (21, 'jdbc', 'returned')";
            try (PreparedStatement statement = c.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
                statement.executeUpdate();
                ResultSet keys = statement.getGeneratedKeys();
                keys.next();
                return keys.getInt("id");
            }
        });
        step("updatable rows", c -> {
            Statement statement = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
            ResultSet rows = statement.executeQuery("SELECT id, client, note FROM scratch WHERE client = 'jdbc' AND id = 21");
            rows.next();
            rows.updateString("note", "updated");
            rows.updateRow();
            return "done";
        });
        step("transaction", c -> {
            c.setAutoCommit(false);
            try (Statement statement = c.createStatement()) {
                int gone = statement.executeUpdate("DELETE FROM scratch WHERE client = 'jdbc' AND id >= 100");
                c.commit();
                statement.executeUpdate("DELETE FROM scratch WHERE client = 'jdbc'");
                c.rollback();
                return gone;
            }
        });
        step("notify", c -> {
            try (Statement statement = c.createStatement()) {
                statement.execute("LISTEN jdbc");
                statement.execute("NOTIFY jdbc, 'hello'");
                return c.unwrap(PGConnection.class).getNotifications(2000)[0].getParameter();
            }
        });
    }

    interface Question {
        ResultSet ask(DatabaseMetaData data) throws SQLException;
    }

    static void ask(String name, Question question) {
        step(name, c -> {
            ResultSet rows = question.ask(c.getMetaData());
            ResultSetMetaData shape = rows.getMetaData();
            StringBuilder shown = new StringBuilder();
            while (rows.next()) {
                for (int column = 1; column <= shape.getColumnCount(); column++) {
                    shown.append(rows.getString(column)).append('|');
                }
                shown.append(';');
            }
            return shown;
        });
    }

    static void metadata() {
        ask("getTables", d -> d.getTables(null, null, "%", null));
        ask("getColumns", d -> d.getColumns(null, null, "%", "%"));
        ask("getIndexInfo", d -> d.getIndexInfo(null, "public", "scratch", false, true));
        ask("getPrimaryKeys", d -> d.getPrimaryKeys(null, "public", "scratch"));
        ask("getImportedKeys", d -> d.getImportedKeys(null, "public", "orders"));
        ask("getExportedKeys", d -> d.getExportedKeys(null, "public", "accounts"));
        ask("getBestRowIdentifier", d -> d.getBestRowIdentifier(null, "public", "scratch", DatabaseMetaData.bestRowSession, true));
        ask("getVersionColumns", d -> d.getVersionColumns(null, "public", "scratch"));
        ask("getSchemas", DatabaseMetaData::getSchemas);
        ask("getCatalogs", DatabaseMetaData::getCatalogs);
        ask("getTableTypes", DatabaseMetaData::getTableTypes);
        ask("getTypeInfo", DatabaseMetaData::getTypeInfo);
        ask("getUDTs", d -> d.getUDTs(null, null, "%", null));
        ask("getFunctions", d -> d.getFunctions(null, "public", "%"));
        ask("getFunctionColumns", d -> d.getFunctionColumns(null, "public", "%", "%"));
        ask("getProcedures", d -> d.getProcedures(null, "public", "%"));
        ask("getTablePrivileges", d -> d.getTablePrivileges(null, "public", "accounts"));
        ask("getColumnPrivileges", d -> d.getColumnPrivileges(null, "public", "accounts", "%"));
        ask("getClientInfoProperties", DatabaseMetaData::getClientInfoProperties);
        step("words", c -> {
            DatabaseMetaData data = c.getMetaData();
            return data.getSQLKeywords().length() + " " + data.getMaxColumnNameLength() + " " + data.getDatabaseProductVersion();
        });
        step("parameters", c -> {
            try (PreparedStatement statement = c.prepareStatement("SELECT * FROM every_type WHERE id = ? AND words = ?")) {
                return statement.getParameterMetaData().getParameterTypeName(2) + " " + statement.getMetaData().getColumnCount()
                    + " " + statement.getMetaData().isAutoIncrement(1) + " " + statement.getMetaData().isNullable(1);
            }
        });
    }
}
