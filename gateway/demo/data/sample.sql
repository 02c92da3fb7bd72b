-- A small web shop, about 100,000 rows, the same on every run: all variety comes from arithmetic on row numbers.
-- Run in an empty database as its owner.
CREATE SCHEMA shop;
CREATE SCHEMA billing;
CREATE SCHEMA support;
CREATE SCHEMA hr;

-- Spreads consecutive numbers evenly over 0..buckets-1, in an order that looks like chance. `salt` makes streams differ.
CREATE FUNCTION pg_temp.pick(n bigint, buckets int, salt int) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$SELECT (((n * 2654435761 + salt * 40503) % 4294967296) / 65536 * 31 + n * 7 + salt)::bigint % buckets$$;
CREATE FUNCTION pg_temp.first_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$SELECT (ARRAY['Amara', 'Anton', 'Beatriz', 'Carlos', 'Chiara', 'Daniel', 'Elif', 'Emma', 'Farid', 'Freya', 'Goran', 'Hana', 'Ines',
    'Jonas', 'Kavya', 'Lars', 'Leila', 'Marek', 'Mina', 'Noah', 'Olga', 'Pedro', 'Priya', 'Ravi', 'Rosa', 'Samir', 'Sofia', 'Tomas',
    'Yuki', 'Zoe'])[1 + pg_temp.pick(n, 30, 1)]$$;
CREATE FUNCTION pg_temp.last_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$SELECT (ARRAY['Almeida', 'Andersson', 'Bauer', 'Bianchi', 'Chen', 'Costa', 'Demir', 'Dubois', 'Fischer', 'Garcia', 'Haddad', 'Hansen',
    'Ivanova', 'Jensen', 'Kaya', 'Kowalski', 'Kumar', 'Larsen', 'Moreau', 'Müller', 'Nakamura', 'Novak', 'O''Brien', 'Okafor', 'Patel',
    'Rossi', 'Sato', 'Silva', 'Tanaka', 'Virtanen', 'Weber', 'Yilmaz', 'Zhang'])[1 + pg_temp.pick(n, 33, 2)]$$;

CREATE TABLE hr.departments (id int PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO hr.departments
  SELECT n, name FROM unnest(ARRAY['Sales', 'Warehouse', 'Purchasing', 'Support', 'Finance', 'Engineering', 'Marketing', 'People'])
    WITH ORDINALITY AS d (name, n);
CREATE TABLE hr.employees (
  id int PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  department_id int NOT NULL REFERENCES hr.departments,
  manager_id int REFERENCES hr.employees,
  salary numeric(10, 2) NOT NULL CHECK (salary > 0),
  hired_on date NOT NULL
);
INSERT INTO hr.employees
  SELECT n, pg_temp.first_name(n) || ' ' || pg_temp.last_name(n), 'employee' || n || '@shop.example', 1 + n % 8,
         CASE WHEN n > 8 THEN 1 + n % 8 END, 31000 + 250 * pg_temp.pick(n, 200, 3), date '2015-01-05' + pg_temp.pick(n, 3600, 4)
  FROM generate_series(1, 300) n;

CREATE TABLE shop.categories (id int PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO shop.categories
  SELECT n, name FROM unnest(ARRAY['Books', 'Kitchen', 'Garden', 'Toys', 'Music', 'Sports', 'Office', 'Lighting', 'Tools', 'Tea and coffee'])
    WITH ORDINALITY AS c (name, n);
CREATE TABLE shop.products (
  id int PRIMARY KEY,
  category_id int NOT NULL REFERENCES shop.categories,
  name text NOT NULL,
  price numeric(8, 2) NOT NULL CHECK (price > 0),
  in_stock int NOT NULL,
  attributes jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO shop.products
  SELECT n, (ARRAY[8, 10, 7, 5, 9, 4, 2, 3, 4, 3, 10, 7, 1, 6])[1 + pg_temp.pick(n, 14, 7)], -- the category of each noun below
         (ARRAY['Small', 'Classic', 'Nordic', 'Folding', 'Travel', 'Deluxe', 'Everyday', 'Vintage', 'Quiet', 'Bright'])[1 + pg_temp.pick(n, 10, 6)] || ' '
           || (ARRAY['lamp', 'teapot', 'notebook', 'drum', 'ladder', 'kite', 'kettle', 'basket', 'puzzle', 'spade', 'mug', 'chair', 'atlas',
             'racket'])[1 + pg_temp.pick(n, 14, 7)] || ' no. ' || n,
         (199 + 50 * pg_temp.pick(n, 400, 8)) / 100.0, pg_temp.pick(n, 500, 9),
         jsonb_build_object('colour', (ARRAY['red', 'blue', 'green', 'oak', 'white'])[1 + pg_temp.pick(n, 5, 10)],
                            'weight_grams', 50 + 10 * pg_temp.pick(n, 300, 11))
  FROM generate_series(1, 500) n;
CREATE TABLE shop.customers (
  id int PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  city text NOT NULL,
  joined_on date NOT NULL,
  newsletter boolean NOT NULL
);
INSERT INTO shop.customers
  SELECT n, pg_temp.first_name(n) || ' ' || pg_temp.last_name(n), 'customer' || n || '@mail.example',
         (ARRAY['Berlin', 'Lisbon', 'Oslo', 'Kraków', 'Lyon', 'Porto', 'Turin', 'Ghent', 'Malmö', 'Izmir', 'Graz', 'Cork'])[1 + pg_temp.pick(n, 12, 12)],
         date '2021-01-01' + n / 4, n % 3 = 0
  FROM generate_series(1, 6000) n;
CREATE SEQUENCE shop.order_number START 20001;
CREATE TABLE shop.orders (
  id int PRIMARY KEY DEFAULT nextval('shop.order_number'),
  customer_id int NOT NULL REFERENCES shop.customers,
  status text NOT NULL CHECK (status IN ('new', 'paid', 'shipped', 'returned')),
  ordered_at timestamptz NOT NULL DEFAULT now()
);
ALTER SEQUENCE shop.order_number OWNED BY shop.orders.id;
INSERT INTO shop.orders
  SELECT n, 1 + pg_temp.pick(n, 6000, 13),
         CASE WHEN n > 19500 THEN 'new' ELSE (ARRAY['paid', 'shipped', 'shipped', 'shipped', 'returned'])[1 + pg_temp.pick(n, 5, 14)] END,
         timestamptz '2024-01-01 08:00+00' + n * interval '47 minutes'
  FROM generate_series(1, 20000) n;
CREATE TABLE shop.order_items (
  order_id int NOT NULL REFERENCES shop.orders,
  line int NOT NULL,
  product_id int NOT NULL REFERENCES shop.products,
  quantity int NOT NULL CHECK (quantity > 0),
  unit_price numeric(8, 2) NOT NULL,
  PRIMARY KEY (order_id, line)
);
INSERT INTO shop.order_items
  SELECT o.id, l, p.id, 1 + (o.id + l) % 3, p.price
  FROM shop.orders o
  CROSS JOIN LATERAL generate_series(1, 1 + o.id % 4) l
  JOIN shop.products p ON p.id = 1 + pg_temp.pick(o.id * 4 + l, 500, 15);
CREATE INDEX ON shop.orders (customer_id);
CREATE INDEX ON shop.order_items (product_id);

CREATE TABLE billing.invoices (
  id int PRIMARY KEY,
  order_id int NOT NULL UNIQUE REFERENCES shop.orders,
  amount numeric(10, 2) NOT NULL,
  issued_on date NOT NULL,
  due_on date NOT NULL
);
INSERT INTO billing.invoices
  SELECT row_number() OVER (ORDER BY o.id), o.id, sum(i.quantity * i.unit_price), o.ordered_at::date, o.ordered_at::date + 14
  FROM shop.orders o JOIN shop.order_items i ON i.order_id = o.id
  WHERE o.status <> 'new' AND o.id % 5 < 3 GROUP BY o.id;
CREATE TABLE billing.payments (
  id int PRIMARY KEY,
  invoice_id int NOT NULL REFERENCES billing.invoices,
  amount numeric(10, 2) NOT NULL,
  method text NOT NULL,
  paid_at timestamptz NOT NULL
);
INSERT INTO billing.payments
  SELECT row_number() OVER (ORDER BY id), id, amount, (ARRAY['card', 'card', 'transfer', 'wallet'])[1 + pg_temp.pick(id, 4, 16)],
         issued_on + interval '9 hours' + pg_temp.pick(id, 20, 17) * interval '1 day'
  FROM billing.invoices WHERE pg_temp.pick(id, 20, 18) < 17;

CREATE TABLE support.tickets (
  id int PRIMARY KEY,
  customer_id int NOT NULL REFERENCES shop.customers,
  subject text NOT NULL,
  status text NOT NULL CHECK (status IN ('open', 'waiting', 'closed')),
  opened_at timestamptz NOT NULL
);
INSERT INTO support.tickets
  SELECT n, 1 + pg_temp.pick(n, 6000, 19),
         (ARRAY['Where is my parcel?', 'Wrong item', 'Damaged on arrival', 'Change of address', 'Refund', 'How do I use it?'])[1 + pg_temp.pick(n, 6, 20)],
         (ARRAY['closed', 'closed', 'closed', 'waiting', 'open'])[1 + pg_temp.pick(n, 5, 21)],
         timestamptz '2024-01-02 09:00+00' + n * interval '6 hours'
  FROM generate_series(1, 2500) n;
CREATE TABLE support.messages (
  id int PRIMARY KEY,
  ticket_id int NOT NULL REFERENCES support.tickets,
  from_customer boolean NOT NULL,
  body text NOT NULL,
  sent_at timestamptz NOT NULL
);
INSERT INTO support.messages
  SELECT row_number() OVER (ORDER BY t.id, m), t.id, m % 2 = 1,
         CASE WHEN m % 2 = 1 THEN 'Hello, this is about ticket ' || t.id || ': ' || t.subject ELSE 'Thank you, we are looking into it.' END,
         t.opened_at + m * interval '5 hours'
  FROM support.tickets t CROSS JOIN LATERAL generate_series(1, 1 + t.id % 4) m;

CREATE VIEW shop.best_sellers AS
  SELECT p.name, c.name AS category, sum(i.quantity) AS sold, sum(i.quantity * i.unit_price) AS revenue
  FROM shop.order_items i JOIN shop.products p ON p.id = i.product_id JOIN shop.categories c ON c.id = p.category_id
  GROUP BY p.id, p.name, c.name;
CREATE VIEW billing.open_invoices AS
  SELECT i.id, i.order_id, i.amount, i.due_on
  FROM billing.invoices i LEFT JOIN billing.payments p ON p.invoice_id = i.id WHERE p.id IS NULL;
CREATE VIEW support.open_tickets AS
  SELECT t.id, c.name AS customer, t.subject, t.status, t.opened_at
  FROM support.tickets t JOIN shop.customers c ON c.id = t.customer_id WHERE t.status <> 'closed';

-- Writes, though its call looks like reading, and with its owner's rights: what a read-only login alone would not stop.
CREATE TABLE shop.daily_totals (day date PRIMARY KEY, orders int NOT NULL, revenue numeric(12, 2) NOT NULL);
CREATE FUNCTION shop.refresh_totals() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop, pg_temp AS $$
DECLARE
  days int;
BEGIN
  INSERT INTO daily_totals
    SELECT o.ordered_at::date, count(DISTINCT o.id), sum(i.quantity * i.unit_price)
    FROM orders o JOIN order_items i ON i.order_id = o.id GROUP BY 1
  ON CONFLICT (day) DO UPDATE SET orders = excluded.orders, revenue = excluded.revenue;
  GET DIAGNOSTICS days = ROW_COUNT;
  RETURN days;
END
$$;

-- SELECT and nothing else for one login, reading and writing rows for the other; neither owns anything.
GRANT USAGE ON SCHEMA shop, billing, support, hr TO %ro%, %rw%;
GRANT SELECT ON ALL TABLES IN SCHEMA shop, billing, support, hr TO %ro%;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shop, billing, support, hr TO %rw%;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA shop TO %rw%;
