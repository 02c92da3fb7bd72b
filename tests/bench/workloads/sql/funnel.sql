WITH views AS (
  SELECT
    v.id,
    v.visitor,
    v.customer_id,
    v.viewed_at,
    v.page,
    v.product_id,
    v.properties ->> 'device' AS device,
    coalesce(substring(v.referrer FROM 'https?://([^/]+)/'), 'direct') AS source,
    v.viewed_at - lag(v.viewed_at) OVER (PARTITION BY v.visitor ORDER BY v.viewed_at) AS pause
  FROM shop.page_views AS v
  WHERE v.viewed_at >= timestamptz '2025-02-01 00:00+00'
    AND v.viewed_at < timestamptz '2025-03-15 00:00+00'
    AND v.page IN ('/', '/search', '/product', '/basket', '/checkout')
), sessions AS (
  SELECT
    views.*,
    count(*) FILTER (WHERE pause IS NULL OR pause > interval '3 days') OVER (PARTITION BY visitor ORDER BY viewed_at) AS session_number
  FROM views
), steps AS (
  SELECT
    s.visitor,
    s.session_number,
    min(s.source) AS source,
    min(s.device) AS device,
    min(s.viewed_at) AS started_at,
    max(s.viewed_at) AS ended_at,
    min(s.viewed_at) FILTER (WHERE s.page IN ('/', '/search')) AS landed_at,
    min(s.viewed_at) FILTER (WHERE s.page = '/product') AS product_at,
    min(s.viewed_at) FILTER (WHERE s.page = '/basket') AS basket_at,
    min(s.viewed_at) FILTER (WHERE s.page = '/checkout') AS checkout_at,
    count(DISTINCT s.product_id) AS products_seen,
    max(s.customer_id) AS customer_id,
    array_agg(s.page ORDER BY s.viewed_at) AS path
  FROM sessions AS s
  GROUP BY s.visitor, s.session_number
), bought AS (
  SELECT
    st.*,
    o.id AS order_id,
    o.placed_at,
    o.channel,
    o.coupon,
    coalesce(x.net, 0) AS net
  FROM steps AS st
  LEFT JOIN LATERAL (
    SELECT o.id, o.placed_at, o.channel, o.coupon
    FROM shop.orders AS o
    WHERE o.customer_id = st.customer_id
      AND o.placed_at >= st.started_at
      AND o.placed_at < st.ended_at + interval '14 days'
    ORDER BY o.placed_at
    LIMIT 1
  ) AS o ON true
  LEFT JOIN LATERAL (
    SELECT sum(l.quantity * l.unit_price * (1 - l.discount)) AS net FROM shop.order_lines AS l WHERE l.order_id = o.id
  ) AS x ON true
), by_source AS (
  SELECT
    b.source,
    b.device,
    count(*) AS sessions,
    count(b.landed_at) AS landed,
    count(*) FILTER (WHERE b.product_at >= b.landed_at) AS saw_product,
    count(*) FILTER (WHERE b.basket_at >= b.product_at) AS filled_basket,
    count(*) FILTER (WHERE b.checkout_at >= b.basket_at) AS checked_out,
    count(b.order_id) AS ordered,
    count(b.coupon) AS with_coupon,
    sum(b.net) AS net,
    avg(extract(epoch FROM b.ended_at - b.started_at)) AS mean_seconds,
    percentile_disc(0.9) WITHIN GROUP (ORDER BY b.products_seen) AS products_p90,
    mode() WITHIN GROUP (ORDER BY array_to_string(b.path, ' ')) AS usual_path
  FROM bought AS b
  GROUP BY b.source, b.device
)
SELECT
  coalesce(f.source, '(all)') AS source,
  coalesce(f.device, '(all)') AS device,
  sum(f.sessions) AS sessions,
  sum(f.landed) AS landed,
  sum(f.saw_product) AS saw_product,
  round(100.0 * sum(f.saw_product) / nullif(sum(f.landed), 0), 1) AS product_percent,
  sum(f.filled_basket) AS filled_basket,
  round(100.0 * sum(f.filled_basket) / nullif(sum(f.saw_product), 0), 1) AS basket_percent,
  sum(f.checked_out) AS checked_out,
  round(100.0 * sum(f.checked_out) / nullif(sum(f.filled_basket), 0), 1) AS checkout_percent,
  sum(f.ordered) AS ordered,
  round(100.0 * sum(f.ordered) / nullif(sum(f.sessions), 0), 1) AS conversion_percent,
  sum(f.with_coupon) AS with_coupon,
  round(sum(f.net), 2) AS net,
  round(sum(f.net) / nullif(sum(f.ordered), 0), 2) AS net_per_order,
  round(avg(f.mean_seconds)::numeric / 60, 1) AS mean_minutes,
  max(f.products_p90) AS products_p90,
  min(f.usual_path) AS usual_path
FROM by_source AS f
GROUP BY ROLLUP (f.source, f.device)
ORDER BY grouping(f.source), f.source, grouping(f.device), f.device;
