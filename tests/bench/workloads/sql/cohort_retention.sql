WITH first_orders AS (
  SELECT
    o.customer_id,
    min(o.placed_at) AS first_at,
    date_trunc('month', min(o.placed_at)) AS cohort
  FROM shop.orders AS o
  WHERE o.status <> 'open'
  GROUP BY o.customer_id
), activity AS (
  SELECT
    f.cohort,
    f.customer_id,
    c.segment,
    (extract(year FROM age(date_trunc('month', o.placed_at), f.cohort)) * 12
      + extract(month FROM age(date_trunc('month', o.placed_at), f.cohort)))::int AS months_since,
    sum(l.quantity * l.unit_price * (1 - l.discount)) AS spent
  FROM first_orders AS f
  JOIN shop.customers AS c ON c.id = f.customer_id
  JOIN shop.orders AS o ON o.customer_id = f.customer_id AND o.status <> 'open'
  JOIN shop.order_lines AS l ON l.order_id = o.id
  GROUP BY f.cohort, f.customer_id, c.segment, 4
), sizes AS (
  SELECT cohort, segment, count(DISTINCT customer_id) AS size
  FROM activity
  WHERE months_since = 0
  GROUP BY cohort, segment
), grid AS (
  SELECT s.cohort, s.segment, s.size, m.months_since
  FROM sizes AS s
  CROSS JOIN generate_series(0, 6) AS m (months_since)
), retained AS (
  SELECT cohort, segment, months_since, count(DISTINCT customer_id) AS active, sum(spent) AS spent
  FROM activity
  GROUP BY cohort, segment, months_since
)
SELECT
  to_char(g.cohort, 'Mon YYYY') AS cohort,
  g.segment,
  g.size,
  max(CASE WHEN g.months_since = 0 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_0,
  max(CASE WHEN g.months_since = 1 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_1,
  max(CASE WHEN g.months_since = 2 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_2,
  max(CASE WHEN g.months_since = 3 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_3,
  max(CASE WHEN g.months_since = 4 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_4,
  max(CASE WHEN g.months_since = 5 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_5,
  max(CASE WHEN g.months_since = 6 THEN round(100.0 * coalesce(r.active, 0) / g.size, 1) END) AS month_6,
  round(sum(coalesce(r.spent, 0)) / g.size, 2) AS lifetime_value,
  round(sum(CASE WHEN g.months_since <= 1 THEN coalesce(r.spent, 0) END) / g.size, 2) AS value_in_60_days,
  string_agg(coalesce(r.active, 0)::text, ' ' ORDER BY g.months_since) AS sparkline
FROM grid AS g
LEFT JOIN retained AS r
  ON r.cohort = g.cohort AND r.segment = g.segment AND r.months_since = g.months_since
GROUP BY g.cohort, g.segment, g.size
HAVING g.size > 0
ORDER BY g.cohort, g.segment;
