WITH RECURSIVE tree AS (
  SELECT c.id, c.name::text AS path, 0 AS depth FROM shop.categories AS c WHERE c.parent_id IS NULL
  UNION ALL
  SELECT c.id, t.path || ' > ' || c.name, t.depth + 1 FROM shop.categories AS c JOIN tree AS t ON t.id = c.parent_id WHERE t.depth < 10
), on_hand AS (
  SELECT m.product_id, m.warehouse, sum(m.delta) AS units, max(m.moved_at) AS last_moved_at,
    count(*) FILTER (WHERE m.reason = 'count') AS counts
  FROM shop.stock_movements AS m
  GROUP BY m.product_id, m.warehouse
), weekly AS (
  SELECT l.product_id, date_trunc('week', o.placed_at) AS week, sum(l.quantity) AS units
  FROM shop.orders AS o
  JOIN shop.order_lines AS l ON l.order_id = o.id
  WHERE o.status = 'paid'
  GROUP BY l.product_id, date_trunc('week', o.placed_at)
), demand AS (
  SELECT
    w.product_id,
    avg(w.units) AS mean_units,
    coalesce(stddev_samp(w.units), 0) AS deviation,
    regr_slope(w.units, extract(epoch FROM w.week) / 604800.0) AS trend,
    max(w.units) AS peak,
    count(*) AS weeks_with_sales
  FROM weekly AS w
  GROUP BY w.product_id
), smoothed AS (
  SELECT w.product_id, w.week,
    avg(w.units) OVER (PARTITION BY w.product_id ORDER BY w.week ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS moving_average,
    row_number() OVER (PARTITION BY w.product_id ORDER BY w.week DESC) AS newest_first
  FROM weekly AS w
), plan AS (
  SELECT
    p.id,
    p.sku,
    p.title,
    t.path AS category,
    p.attributes ->> 'colour' AS colour,
    (p.attributes ->> 'grams')::int AS grams,
    coalesce(sum(h.units), 0) AS units,
    max(h.last_moved_at) AS last_moved_at,
    d.mean_units,
    d.deviation,
    d.trend,
    s.moving_average,
    ceil(coalesce(d.mean_units, 0) * 3 + 1.65 * coalesce(d.deviation, 0) * sqrt(3)) AS reorder_point
  FROM shop.products AS p
  JOIN tree AS t ON t.id = p.category_id
  LEFT JOIN on_hand AS h ON h.product_id = p.id
  LEFT JOIN demand AS d ON d.product_id = p.id
  LEFT JOIN smoothed AS s ON s.product_id = p.id AND s.newest_first = 1
  GROUP BY p.id, p.sku, p.title, t.path, p.attributes, d.mean_units, d.deviation, d.trend, s.moving_average
)
SELECT
  plan.sku,
  plan.title,
  plan.category,
  plan.colour,
  plan.grams,
  plan.units,
  round(plan.mean_units, 2) AS mean_weekly_units,
  round(plan.moving_average, 2) AS four_week_average,
  round(plan.trend::numeric, 4) AS weekly_trend,
  plan.reorder_point,
  CASE
    WHEN plan.units <= 0 THEN 'out of stock'
    WHEN plan.units < plan.reorder_point THEN 'reorder'
    WHEN plan.units > 12 * coalesce(plan.mean_units, 0) THEN 'overstocked'
    ELSE 'ok'
  END AS advice,
  CASE WHEN plan.mean_units > 0 THEN round(plan.units / plan.mean_units, 1) END AS weeks_of_cover,
  to_char(plan.last_moved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS last_moved_on
FROM plan
WHERE plan.category LIKE 'all > %'
ORDER BY (plan.units < plan.reorder_point) DESC, plan.sku;
