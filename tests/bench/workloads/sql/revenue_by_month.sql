WITH months AS (
  SELECT generate_series(date_trunc('month', timestamptz '2025-01-01 00:00+00'), timestamptz '2025-07-01 00:00+00', interval '1 month') AS month
), lines AS (
  SELECT
    date_trunc('month', o.placed_at) AS month,
    r.name AS region,
    o.id AS order_id,
    o.customer_id,
    l.quantity * l.unit_price AS gross,
    l.quantity * l.unit_price * (1 - l.discount) AS net,
    l.quantity * p.unit_cost AS cost
  FROM shop.orders AS o
  JOIN shop.order_lines AS l ON l.order_id = o.id
  JOIN shop.products AS p ON p.id = l.product_id
  JOIN shop.customers AS c ON c.id = o.customer_id
  JOIN shop.regions AS r ON r.id = c.region_id
  WHERE o.status IN ('paid', 'refunded')
    AND o.placed_at >= timestamptz '2025-01-01 00:00+00'
    AND o.placed_at < timestamptz '2025-08-01 00:00+00'
), monthly AS (
  SELECT
    month,
    region,
    count(DISTINCT order_id) AS orders,
    count(DISTINCT customer_id) AS buyers,
    sum(gross) AS gross,
    sum(net) AS net,
    sum(net) - sum(cost) AS margin
  FROM lines
  GROUP BY month, region
)
SELECT
  to_char(m.month, 'YYYY-MM') AS month,
  y.region,
  coalesce(y.orders, 0) AS orders,
  coalesce(y.buyers, 0) AS buyers,
  round(coalesce(y.gross, 0), 2) AS gross_revenue,
  round(coalesce(y.net, 0), 2) AS net_revenue,
  round(coalesce(y.margin, 0), 2) AS margin,
  round(y.net / nullif(y.orders, 0), 2) AS net_per_order,
  round(y.net / nullif(y.buyers, 0), 2) AS net_per_buyer,
  round(avg(y.net) OVER (PARTITION BY y.region ORDER BY m.month ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), 2) AS net_moving_average,
  round(100 * y.margin / nullif(y.net, 0), 1) AS margin_percent,
  round(sum(y.net) OVER (PARTITION BY y.region ORDER BY m.month ROWS UNBOUNDED PRECEDING), 2) AS net_to_date,
  round(100 * (y.net / nullif(lag(y.net) OVER (PARTITION BY y.region ORDER BY m.month), 0) - 1), 1) AS growth_percent,
  rank() OVER (PARTITION BY m.month ORDER BY y.net DESC NULLS LAST) AS place_in_month
FROM months AS m
LEFT JOIN monthly AS y ON y.month = m.month
ORDER BY m.month, y.region
LIMIT 200;
