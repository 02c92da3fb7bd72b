WITH orders_net AS (
  SELECT
    o.id,
    o.customer_id,
    o.placed_at,
    o.channel,
    (SELECT sum(l.quantity * l.unit_price * (1 - l.discount)) FROM shop.order_lines AS l WHERE l.order_id = o.id) AS net,
    EXISTS (SELECT 1 FROM shop.payments AS p WHERE p.order_id = o.id AND NOT p.failed AND p.captured_at IS NOT NULL) AS paid
  FROM shop.orders AS o
  WHERE o.placed_at BETWEEN timestamptz '2025-01-01 00:00+00' AND timestamptz '2025-12-31 23:59+00'
    AND o.status NOT IN ('open', 'cancelled')
), per_customer AS (
  SELECT
    c.id,
    c.full_name,
    c.segment,
    r.country,
    max(o.placed_at) AS last_at,
    count(o.id) AS frequency,
    coalesce(sum(o.net), 0) AS monetary,
    avg(o.net) FILTER (WHERE o.channel = 'web') AS average_web,
    avg(o.net) FILTER (WHERE o.channel = 'store') AS average_store,
    avg(o.net) FILTER (WHERE o.channel = 'phone') AS average_phone,
    count(*) FILTER (WHERE NOT o.paid) AS unpaid
  FROM shop.customers AS c
  JOIN shop.regions AS r ON r.id = c.region_id
  LEFT JOIN orders_net AS o ON o.customer_id = c.id
  GROUP BY c.id, c.full_name, c.segment, r.country
), scored AS (
  SELECT
    p.*,
    ntile(5) OVER (ORDER BY p.last_at NULLS FIRST) AS r_score,
    ntile(5) OVER (ORDER BY p.frequency) AS f_score,
    ntile(5) OVER (ORDER BY p.monetary) AS m_score,
    percent_rank() OVER (PARTITION BY p.country ORDER BY p.monetary) AS rank_in_country
  FROM per_customer AS p
), named AS (
  SELECT
    s.*,
    CASE
      WHEN s.r_score >= 4 AND s.f_score >= 4 AND s.m_score >= 4 THEN 'champions'
      WHEN s.r_score >= 3 AND s.f_score >= 3 THEN 'loyal'
      WHEN s.r_score >= 4 AND s.f_score <= 2 THEN 'new'
      WHEN s.r_score = 3 AND s.f_score <= 2 THEN 'promising'
      WHEN s.r_score <= 2 AND s.f_score >= 4 THEN 'cannot lose them'
      WHEN s.r_score <= 2 AND s.f_score BETWEEN 2 AND 3 THEN 'at risk'
      WHEN s.r_score = 1 AND s.f_score = 1 THEN 'lost'
      ELSE 'others'
    END AS rfm_segment
  FROM scored AS s
)
SELECT
  n.rfm_segment,
  n.country,
  count(*) AS customers,
  round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS share_percent,
  round(avg(n.monetary), 2) AS average_spent,
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY n.monetary)::numeric, 2) AS median_spent,
  round(avg(n.frequency), 2) AS average_orders,
  max(n.last_at)::date AS last_order_on,
  round(avg(coalesce(n.average_web, 0)), 2) AS average_web,
  round(avg(coalesce(n.average_store, 0)), 2) AS average_store,
  round(avg(coalesce(n.average_phone, 0)), 2) AS average_phone,
  sum(n.unpaid) AS unpaid_orders,
  array_to_string((array_agg(n.full_name ORDER BY n.monetary DESC))[1:3], ', ') AS best_customers
FROM named AS n
GROUP BY GROUPING SETS ((n.rfm_segment, n.country), (n.rfm_segment), ())
ORDER BY n.rfm_segment NULLS LAST, n.country NULLS LAST;
