WITH events AS (
  SELECT
    'signed up'::text AS kind,
    c.id AS customer_id,
    c.signed_up_on::timestamptz AS happened_at,
    'Signed up in ' || r.name AS title,
    c.email AS detail,
    NULL::numeric AS amount
  FROM shop.customers AS c
  JOIN shop.regions AS r ON r.id = c.region_id
  WHERE c.id BETWEEN 3 AND 9
    AND true
  UNION ALL
  SELECT
    'order'::text AS kind,
    c.id AS customer_id,
    o.placed_at AS happened_at,
    format('Order %s by %s', o.id, o.channel) AS title,
    o.status || coalesce(', coupon ' || o.coupon, '') AS detail,
    (SELECT sum(l.quantity * l.unit_price * (1 - l.discount)) FROM shop.order_lines AS l WHERE l.order_id = o.id) AS amount
  FROM shop.customers AS c
  JOIN shop.orders AS o ON o.customer_id = c.id
  WHERE c.id BETWEEN 3 AND 9
    AND o.status IN ('paid', 'open')
  UNION ALL
  SELECT
    'refund'::text AS kind,
    c.id AS customer_id,
    o.placed_at + interval '3 days' AS happened_at,
    format('Order %s refunded', o.id) AS title,
    'was placed by ' || o.channel AS detail,
    -(SELECT sum(l.quantity * l.unit_price) FROM shop.order_lines AS l WHERE l.order_id = o.id) AS amount
  FROM shop.customers AS c
  JOIN shop.orders AS o ON o.customer_id = c.id
  WHERE c.id BETWEEN 3 AND 9
    AND o.status = 'refunded'
  UNION ALL
  SELECT
    'payment'::text AS kind,
    c.id AS customer_id,
    coalesce(p.captured_at, o.placed_at) AS happened_at,
    'Payment by ' || p.method AS title,
    CASE WHEN p.failed THEN 'failed' ELSE 'captured' END AS detail,
    p.amount AS amount
  FROM shop.customers AS c
  JOIN shop.orders AS o ON o.customer_id = c.id
  JOIN shop.payments AS p ON p.order_id = o.id
  WHERE c.id BETWEEN 3 AND 9
    AND p.amount > 0
  UNION ALL
  SELECT
    'shipment'::text AS kind,
    c.id AS customer_id,
    s.shipped_at AS happened_at,
    'Shipped with ' || s.carrier AS title,
    CASE WHEN s.delivered_at IS NULL THEN 'on its way' ELSE format('delivered after %s', s.delivered_at - s.shipped_at) END AS detail,
    o.shipping_cost AS amount
  FROM shop.customers AS c
  JOIN shop.orders AS o ON o.customer_id = c.id
  JOIN shop.shipments AS s ON s.order_id = o.id
  WHERE c.id BETWEEN 3 AND 9
    AND s.shipped_at > timestamptz '2025-01-01 00:00+00'
  UNION ALL
  SELECT
    'visit'::text AS kind,
    c.id AS customer_id,
    min(v.viewed_at) AS happened_at,
    format('%s pages', count(*)) AS title,
    string_agg(DISTINCT v.page, ', ' ORDER BY v.page) AS detail,
    NULL::numeric AS amount
  FROM shop.customers AS c
  JOIN shop.page_views AS v ON v.customer_id = c.id
  WHERE c.id BETWEEN 3 AND 9
    AND v.properties @> '{"device": "phone"}'
  GROUP BY c.id, date_trunc('day', v.viewed_at)
  UNION ALL
  SELECT
    'favourite'::text AS kind,
    c.id AS customer_id,
    max(o.placed_at) AS happened_at,
    'Favourite: ' || p.title AS title,
    format('bought %s times', sum(l.quantity)) AS detail,
    sum(l.quantity * l.unit_price) AS amount
  FROM shop.customers AS c
  JOIN shop.orders AS o ON o.customer_id = c.id
  JOIN shop.order_lines AS l ON l.order_id = o.id
  JOIN shop.products AS p ON p.id = l.product_id
  WHERE c.id BETWEEN 3 AND 9
    AND l.quantity > 0
  GROUP BY c.id, p.title
  HAVING sum(l.quantity) >= 3
  UNION ALL
  SELECT
    'silence'::text AS kind,
    c.id AS customer_id,
    max(o.placed_at) + interval '60 days' AS happened_at,
    'No order for a while' AS title,
    format('since %s', to_char(max(o.placed_at), 'DD Mon YYYY')) AS detail,
    NULL::numeric AS amount
  FROM shop.customers AS c
  JOIN shop.orders AS o ON o.customer_id = c.id
  WHERE c.id BETWEEN 3 AND 9
    AND o.status <> 'cancelled'
  GROUP BY c.id
  HAVING max(o.placed_at) < timestamptz '2025-07-01 00:00+00'
), numbered AS (
  SELECT
    e.*,
    row_number() OVER (PARTITION BY e.customer_id ORDER BY e.happened_at DESC, e.kind) AS place,
    sum(e.amount) FILTER (WHERE e.kind IN ('payment', 'refund')) OVER (
      PARTITION BY e.customer_id ORDER BY e.happened_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS balance,
    e.happened_at - lead(e.happened_at) OVER (PARTITION BY e.customer_id ORDER BY e.happened_at DESC) AS since_last
  FROM events AS e
)
SELECT
  n.customer_id,
  c.full_name,
  c.segment,
  n.place,
  to_char(n.happened_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD HH24.MI') AS happened_at,
  n.kind,
  initcap(n.title) AS title,
  CASE WHEN length(n.detail) > 80 THEN left(n.detail, 77) || '...' ELSE n.detail END AS detail,
  round(n.amount, 2) AS amount,
  round(n.balance, 2) AS balance,
  extract(day FROM n.since_last)::int AS days_since_last,
  jsonb_build_object('kind', n.kind, 'amount', n.amount, 'at', n.happened_at) AS record
FROM numbered AS n
JOIN shop.customers AS c ON c.id = n.customer_id
WHERE n.place <= 25
ORDER BY n.customer_id, n.place;
