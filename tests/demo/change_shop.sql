-- A day in the shop: rows change, rows come, rows are marked as deleted.
\set ON_ERROR_STOP 1
SET search_path = shop;
UPDATE orders SET o_orderstatus = 'F', o_totalprice = o_totalprice * 1.01, updated_at = clock_timestamp() WHERE o_orderkey % 64 = 1;
UPDATE customer SET c_acctbal = c_acctbal - 1, updated_at = clock_timestamp() WHERE c_custkey % 10 = 0;
UPDATE lineitem SET l_returnflag = 'R', updated_at = clock_timestamp() WHERE l_orderkey % 128 = 1;
UPDATE orders SET is_deleted = true, updated_at = clock_timestamp() WHERE o_orderkey % 320 = 2;
-- TPC-H leaves gaps between order keys: a new order takes the one behind an old one.
INSERT INTO orders (o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority, o_clerk, o_shippriority, o_comment, updated_at)
  SELECT o_orderkey + 8, o_custkey, 'O', o_totalprice, current_date, o_orderpriority, o_clerk, 0, 'a new order', clock_timestamp() FROM orders WHERE o_orderkey % 160 = 1;
INSERT INTO lineitem SELECT l_orderkey + 8, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, 'N', 'O', current_date,
  current_date + 7, current_date + 9, l_shipinstruct, l_shipmode, 'a new line', clock_timestamp() FROM lineitem WHERE l_orderkey % 160 = 1;
INSERT INTO region VALUES (5, 'ANTARCTICA', 'opened yesterday');
