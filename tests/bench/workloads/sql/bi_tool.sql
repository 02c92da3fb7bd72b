SELECT
  "outer"."Placed at: Week" AS "Placed at: Week",
  "outer"."Orders → Channel" AS "Orders → Channel",
  "outer"."Orders → Status" AS "Orders → Status",
  "outer"."Region → Country" AS "Region → Country",
  "outer"."Customer → Segment" AS "Customer → Segment",
  "outer"."Category → Name" AS "Category → Name",
  "outer".*
FROM (
  SELECT
    CAST(DATE_TRUNC('week', "source"."Placed at") AS DATE) AS "Placed at: Week",
    "source"."Orders → Channel" AS "Orders → Channel",
    "source"."Orders → Status" AS "Orders → Status",
    "source"."Region → Country" AS "Region → Country",
    "source"."Customer → Segment" AS "Customer → Segment",
    "source"."Category → Name" AS "Category → Name",
    COUNT(*) AS "Count",
    COUNT(DISTINCT "source"."Customer") AS "Distinct customers",
    CAST(SUM("source"."Net") AS DOUBLE PRECISION) AS "Sum of Net",
    CAST(AVG("source"."Net") AS DOUBLE PRECISION) AS "Average of Net",
    CAST(MIN("source"."Net") AS DOUBLE PRECISION) AS "Lowest of Net",
    CAST(MAX("source"."Net") AS DOUBLE PRECISION) AS "Highest of Net",
    SUM(CASE WHEN "source"."Net" > 20.0 THEN 1 ELSE 0.0 END) / CAST(NULLIF(COUNT(*), 0) AS DOUBLE PRECISION) AS "Share of Net above 20",
    CAST(SUM("source"."Gross") AS DOUBLE PRECISION) AS "Sum of Gross",
    CAST(AVG("source"."Gross") AS DOUBLE PRECISION) AS "Average of Gross",
    CAST(MIN("source"."Gross") AS DOUBLE PRECISION) AS "Lowest of Gross",
    CAST(MAX("source"."Gross") AS DOUBLE PRECISION) AS "Highest of Gross",
    SUM(CASE WHEN "source"."Gross" > 20.0 THEN 1 ELSE 0.0 END) / CAST(NULLIF(COUNT(*), 0) AS DOUBLE PRECISION) AS "Share of Gross above 20",
    CAST(SUM("source"."Quantity") AS DOUBLE PRECISION) AS "Sum of Quantity",
    CAST(AVG("source"."Quantity") AS DOUBLE PRECISION) AS "Average of Quantity",
    CAST(MIN("source"."Quantity") AS DOUBLE PRECISION) AS "Lowest of Quantity",
    CAST(MAX("source"."Quantity") AS DOUBLE PRECISION) AS "Highest of Quantity",
    SUM(CASE WHEN "source"."Quantity" > 20.0 THEN 1 ELSE 0.0 END) / CAST(NULLIF(COUNT(*), 0) AS DOUBLE PRECISION) AS "Share of Quantity above 20",
    CAST(SUM("source"."Shipping") AS DOUBLE PRECISION) AS "Sum of Shipping",
    CAST(AVG("source"."Shipping") AS DOUBLE PRECISION) AS "Average of Shipping",
    CAST(MIN("source"."Shipping") AS DOUBLE PRECISION) AS "Lowest of Shipping",
    CAST(MAX("source"."Shipping") AS DOUBLE PRECISION) AS "Highest of Shipping",
    SUM(CASE WHEN "source"."Shipping" > 20.0 THEN 1 ELSE 0.0 END) / CAST(NULLIF(COUNT(*), 0) AS DOUBLE PRECISION) AS "Share of Shipping above 20"
  FROM (
      SELECT
        "orders"."placed_at" AS "Placed at",
        "orders"."channel" AS "Orders → Channel",
        "orders"."status" AS "Orders → Status",
        "region"."country" AS "Region → Country",
        "customer"."segment" AS "Customer → Segment",
        "category"."name" AS "Category → Name",
        "customer"."id" AS "Customer",
        "lines"."quantity" AS "Quantity",
        "lines"."quantity" * "lines"."unit_price" AS "Gross",
        "lines"."quantity" * "lines"."unit_price" * (1 - "lines"."discount") AS "Net",
        "orders"."shipping_cost" AS "Shipping"
      FROM
        "shop"."order_lines" AS "lines"
        LEFT JOIN "shop"."orders" AS "orders" ON "lines"."order_id" = "orders"."id"
        LEFT JOIN "shop"."products" AS "product" ON "lines"."product_id" = "product"."id"
        LEFT JOIN "shop"."categories" AS "category" ON "product"."category_id" = "category"."id"
        LEFT JOIN "shop"."customers" AS "customer" ON "orders"."customer_id" = "customer"."id"
        LEFT JOIN "shop"."regions" AS "region" ON "customer"."region_id" = "region"."id"
      WHERE
        ("orders"."placed_at" >= CAST('2025-01-01 00:00:00+00' AS TIMESTAMP WITH TIME ZONE))
        AND ("orders"."placed_at" < CAST('2025-09-01 00:00:00+00' AS TIMESTAMP WITH TIME ZONE))
        AND ("orders"."status" <> 'open' OR "orders"."status" IS NULL)
        AND (LOWER("customer"."email") LIKE '%@example.com')
        AND ("region"."country" = 'DE' OR "region"."country" = 'IT' OR "region"."country" = 'US')
  ) AS "source"
  GROUP BY
    CAST(DATE_TRUNC('week', "source"."Placed at") AS DATE),
    "source"."Orders → Channel",
    "source"."Orders → Status",
    "source"."Region → Country",
    "source"."Customer → Segment",
    "source"."Category → Name"
) AS "outer"
WHERE "outer"."Count" > 0
ORDER BY
  "outer"."Placed at: Week" ASC,
  "outer"."Orders → Channel" ASC,
  "outer"."Orders → Status" ASC,
  "outer"."Region → Country" ASC,
  "outer"."Customer → Segment" ASC,
  "outer"."Category → Name" ASC
LIMIT 2000;
