-- A shop in miniature: the statements over it are as large as real reports, their data so small that PostgreSQL is soon done.
CREATE SCHEMA shop;
CREATE TABLE shop.regions (id int PRIMARY KEY, name text NOT NULL, country text NOT NULL, currency char(3) NOT NULL);
CREATE TABLE shop.customers (
  id int PRIMARY KEY, region_id int NOT NULL REFERENCES shop.regions (id), email text NOT NULL, full_name text NOT NULL,
  segment text NOT NULL, signed_up_on date NOT NULL, marketing_opt_in boolean NOT NULL);
CREATE TABLE shop.categories (id int PRIMARY KEY, parent_id int REFERENCES shop.categories (id), name text NOT NULL);
CREATE TABLE shop.products (
  id int PRIMARY KEY, category_id int NOT NULL REFERENCES shop.categories (id), sku text NOT NULL, title text NOT NULL,
  list_price numeric(10, 2) NOT NULL, unit_cost numeric(10, 2) NOT NULL, attributes jsonb NOT NULL);
CREATE TABLE shop.orders (
  id int PRIMARY KEY, customer_id int NOT NULL REFERENCES shop.customers (id), placed_at timestamptz NOT NULL,
  status text NOT NULL, channel text NOT NULL, coupon text, shipping_cost numeric(8, 2) NOT NULL);
CREATE TABLE shop.order_lines (
  order_id int NOT NULL REFERENCES shop.orders (id), line_number int NOT NULL, product_id int NOT NULL REFERENCES shop.products (id),
  quantity int NOT NULL, unit_price numeric(10, 2) NOT NULL, discount numeric(4, 3) NOT NULL, PRIMARY KEY (order_id, line_number));
CREATE TABLE shop.payments (
  id int PRIMARY KEY, order_id int NOT NULL REFERENCES shop.orders (id), method text NOT NULL, amount numeric(12, 2) NOT NULL,
  captured_at timestamptz, failed boolean NOT NULL);
CREATE TABLE shop.shipments (
  id int PRIMARY KEY, order_id int NOT NULL REFERENCES shop.orders (id), carrier text NOT NULL, shipped_at timestamptz NOT NULL,
  delivered_at timestamptz);
CREATE TABLE shop.stock_movements (
  id int PRIMARY KEY, product_id int NOT NULL REFERENCES shop.products (id), warehouse text NOT NULL, moved_at timestamptz NOT NULL,
  delta int NOT NULL, reason text NOT NULL);
CREATE TABLE shop.page_views (
  id int PRIMARY KEY, visitor uuid NOT NULL, customer_id int REFERENCES shop.customers (id), viewed_at timestamptz NOT NULL,
  page text NOT NULL, product_id int REFERENCES shop.products (id), referrer text, properties jsonb NOT NULL);

INSERT INTO shop.regions VALUES (1, 'North', 'DE', 'EUR'), (2, 'South', 'IT', 'EUR'), (3, 'West', 'US', 'USD');
INSERT INTO shop.customers
  SELECT g, 1 + g % 3, format('c%s@example.com', g), format('Customer %s', g), (ARRAY['consumer', 'trade', 'school'])[1 + g % 3],
    date '2024-01-01' + g * 11, g % 2 = 0 FROM generate_series(1, 20) AS g;
INSERT INTO shop.categories VALUES (1, NULL, 'all'), (2, 1, 'paper'), (3, 1, 'pens'), (4, 3, 'fountain pens');
INSERT INTO shop.products
  SELECT g, 2 + g % 3, format('SKU-%s', 1000 + g), format('Product %s', g), 2 + g, 1 + g * 0.6,
    jsonb_build_object('colour', (ARRAY['red', 'blue', 'black'])[1 + g % 3], 'grams', 10 * g) FROM generate_series(1, 12) AS g;
INSERT INTO shop.orders
  SELECT g, 1 + g % 20, timestamptz '2025-01-03 09:00+00' + g * interval '5 days', (ARRAY['paid', 'paid', 'paid', 'refunded', 'open'])[1 + g % 5],
    (ARRAY['web', 'phone', 'store'])[1 + g % 3], CASE WHEN g % 7 = 0 THEN 'SPRING' END, 4.90 FROM generate_series(1, 40) AS g;
INSERT INTO shop.order_lines
  SELECT o, l, 1 + (o * l) % 12, 1 + (o + l) % 4, 3 + (o * l) % 12, (o % 3) * 0.05 FROM generate_series(1, 40) AS o, generate_series(1, 2) AS l;
INSERT INTO shop.payments
  SELECT g, g, (ARRAY['card', 'transfer'])[1 + g % 2], 20 + g, timestamptz '2025-01-03 10:00+00' + g * interval '5 days', g % 11 = 0
  FROM generate_series(1, 40) AS g;
INSERT INTO shop.shipments
  SELECT g, g, (ARRAY['post', 'courier'])[1 + g % 2], timestamptz '2025-01-04 10:00+00' + g * interval '5 days',
    timestamptz '2025-01-06 10:00+00' + g * interval '5 days' FROM generate_series(1, 40) AS g WHERE g % 5 <> 4;
INSERT INTO shop.stock_movements
  SELECT g, 1 + g % 12, (ARRAY['A', 'B'])[1 + g % 2], timestamptz '2025-01-01 00:00+00' + g * interval '4 days', (g % 9) - 3,
    (ARRAY['purchase', 'sale', 'count'])[1 + g % 3] FROM generate_series(1, 40) AS g;
INSERT INTO shop.page_views
  SELECT g, md5((g % 15)::text)::uuid, CASE WHEN g % 3 > 0 THEN 1 + g % 20 END, timestamptz '2025-02-01 00:00+00' + g * interval '7 hours',
    (ARRAY['/', '/search', '/product', '/basket', '/checkout'])[1 + g % 5], CASE WHEN g % 5 = 2 THEN 1 + g % 12 END,
    (ARRAY['https://search.example/', NULL, 'https://news.example/a'])[1 + g % 3], jsonb_build_object('device', (ARRAY['phone', 'desktop'])[1 + g % 2])
  FROM generate_series(1, 50) AS g;
