WITH facts AS (
  SELECT
    o.id,
    o.placed_at,
    o.channel,
    o.status,
    o.customer_id,
    r.country,
    r.currency,
    cat.name AS category,
    l.quantity * l.unit_price * (1 - l.discount) AS net,
    l.quantity * (l.unit_price * (1 - l.discount) - p.unit_cost) AS margin,
    CASE WHEN o.status = 'refunded' THEN l.quantity * l.unit_price * (1 - l.discount) ELSE 0 END AS refunded
  FROM shop.orders AS o
  JOIN shop.order_lines AS l ON l.order_id = o.id
  JOIN shop.products AS p ON p.id = l.product_id
  JOIN shop.categories AS cat ON cat.id = p.category_id
  JOIN shop.customers AS c ON c.id = o.customer_id
  JOIN shop.regions AS r ON r.id = c.region_id
  WHERE o.status <> 'open'
    AND (o.coupon IS NULL OR o.coupon NOT IN ('STAFF', 'TEST'))
)
SELECT
  coalesce(f.country, 'total') AS country,
  coalesce(f.category, 'total') AS category,
  min(f.currency) AS currency,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-01-01 00:00+00' AND f.placed_at < timestamptz '2025-02-01 00:00+00' AND f.channel = 'web'), 2) AS net_jan_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-01-01 00:00+00' AND f.placed_at < timestamptz '2025-02-01 00:00+00' AND f.channel = 'store'), 2) AS net_jan_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-01-01 00:00+00' AND f.placed_at < timestamptz '2025-02-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_jan,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-01-01 00:00+00' AND f.placed_at < timestamptz '2025-02-01 00:00+00') AS buyers_jan,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-01-01 00:00+00' AND f.placed_at < timestamptz '2025-02-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-01-01 00:00+00' AND f.placed_at < timestamptz '2025-02-01 00:00+00'), 0), 2) AS refunds_jan,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-02-01 00:00+00' AND f.placed_at < timestamptz '2025-03-01 00:00+00' AND f.channel = 'web'), 2) AS net_feb_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-02-01 00:00+00' AND f.placed_at < timestamptz '2025-03-01 00:00+00' AND f.channel = 'store'), 2) AS net_feb_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-02-01 00:00+00' AND f.placed_at < timestamptz '2025-03-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_feb,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-02-01 00:00+00' AND f.placed_at < timestamptz '2025-03-01 00:00+00') AS buyers_feb,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-02-01 00:00+00' AND f.placed_at < timestamptz '2025-03-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-02-01 00:00+00' AND f.placed_at < timestamptz '2025-03-01 00:00+00'), 0), 2) AS refunds_feb,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-03-01 00:00+00' AND f.placed_at < timestamptz '2025-04-01 00:00+00' AND f.channel = 'web'), 2) AS net_mar_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-03-01 00:00+00' AND f.placed_at < timestamptz '2025-04-01 00:00+00' AND f.channel = 'store'), 2) AS net_mar_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-03-01 00:00+00' AND f.placed_at < timestamptz '2025-04-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_mar,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-03-01 00:00+00' AND f.placed_at < timestamptz '2025-04-01 00:00+00') AS buyers_mar,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-03-01 00:00+00' AND f.placed_at < timestamptz '2025-04-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-03-01 00:00+00' AND f.placed_at < timestamptz '2025-04-01 00:00+00'), 0), 2) AS refunds_mar,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-04-01 00:00+00' AND f.placed_at < timestamptz '2025-05-01 00:00+00' AND f.channel = 'web'), 2) AS net_apr_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-04-01 00:00+00' AND f.placed_at < timestamptz '2025-05-01 00:00+00' AND f.channel = 'store'), 2) AS net_apr_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-04-01 00:00+00' AND f.placed_at < timestamptz '2025-05-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_apr,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-04-01 00:00+00' AND f.placed_at < timestamptz '2025-05-01 00:00+00') AS buyers_apr,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-04-01 00:00+00' AND f.placed_at < timestamptz '2025-05-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-04-01 00:00+00' AND f.placed_at < timestamptz '2025-05-01 00:00+00'), 0), 2) AS refunds_apr,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-05-01 00:00+00' AND f.placed_at < timestamptz '2025-06-01 00:00+00' AND f.channel = 'web'), 2) AS net_may_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-05-01 00:00+00' AND f.placed_at < timestamptz '2025-06-01 00:00+00' AND f.channel = 'store'), 2) AS net_may_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-05-01 00:00+00' AND f.placed_at < timestamptz '2025-06-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_may,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-05-01 00:00+00' AND f.placed_at < timestamptz '2025-06-01 00:00+00') AS buyers_may,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-05-01 00:00+00' AND f.placed_at < timestamptz '2025-06-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-05-01 00:00+00' AND f.placed_at < timestamptz '2025-06-01 00:00+00'), 0), 2) AS refunds_may,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-06-01 00:00+00' AND f.placed_at < timestamptz '2025-07-01 00:00+00' AND f.channel = 'web'), 2) AS net_jun_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-06-01 00:00+00' AND f.placed_at < timestamptz '2025-07-01 00:00+00' AND f.channel = 'store'), 2) AS net_jun_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-06-01 00:00+00' AND f.placed_at < timestamptz '2025-07-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_jun,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-06-01 00:00+00' AND f.placed_at < timestamptz '2025-07-01 00:00+00') AS buyers_jun,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-06-01 00:00+00' AND f.placed_at < timestamptz '2025-07-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-06-01 00:00+00' AND f.placed_at < timestamptz '2025-07-01 00:00+00'), 0), 2) AS refunds_jun,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-07-01 00:00+00' AND f.placed_at < timestamptz '2025-08-01 00:00+00' AND f.channel = 'web'), 2) AS net_jul_web,
  round(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-07-01 00:00+00' AND f.placed_at < timestamptz '2025-08-01 00:00+00' AND f.channel = 'store'), 2) AS net_jul_store,
  round(coalesce(sum(f.margin) FILTER (WHERE f.placed_at >= timestamptz '2025-07-01 00:00+00' AND f.placed_at < timestamptz '2025-08-01 00:00+00' AND f.status = 'paid'), 0), 2) AS margin_jul,
  count(DISTINCT f.customer_id) FILTER (WHERE f.placed_at >= timestamptz '2025-07-01 00:00+00' AND f.placed_at < timestamptz '2025-08-01 00:00+00') AS buyers_jul,
  round(100 * sum(f.refunded) FILTER (WHERE f.placed_at >= timestamptz '2025-07-01 00:00+00' AND f.placed_at < timestamptz '2025-08-01 00:00+00') / nullif(sum(f.net) FILTER (WHERE f.placed_at >= timestamptz '2025-07-01 00:00+00' AND f.placed_at < timestamptz '2025-08-01 00:00+00'), 0), 2) AS refunds_jul,
  round(sum(f.net), 2) AS net_total,
  round(sum(f.margin), 2) AS margin_total
FROM facts AS f
GROUP BY CUBE (f.country, f.category)
HAVING sum(f.net) > 0
ORDER BY f.country NULLS LAST, f.category NULLS LAST;
