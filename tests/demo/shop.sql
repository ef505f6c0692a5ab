-- A shop: TPC-H's tables with keys, a change column where rows change, and a mark instead of DELETE for orders.
-- Unlogged until loaded: a load that need not survive a crash is twice as fast.
\set ON_ERROR_STOP 1
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop;
SET search_path = shop;

-- History begins in 2025, one row every 50 ms, so that the change column orders rows as a shop's would.
CREATE UNLOGGED SEQUENCE moment CACHE 1000;

CREATE UNLOGGED TABLE region (
  r_regionkey integer PRIMARY KEY, r_name varchar(25) NOT NULL, r_comment text);
CREATE UNLOGGED TABLE nation (
  n_nationkey integer PRIMARY KEY, n_name varchar(25) NOT NULL, n_regionkey integer NOT NULL, n_comment text);
CREATE UNLOGGED TABLE supplier (
  s_suppkey integer PRIMARY KEY, s_name varchar(25) NOT NULL, s_address text NOT NULL, s_nationkey integer NOT NULL,
  s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment text);
CREATE UNLOGGED TABLE part (
  p_partkey integer PRIMARY KEY, p_name text NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL, p_type text NOT NULL,
  p_size integer NOT NULL, p_container char(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, p_comment text);
CREATE UNLOGGED TABLE partsupp (
  ps_partkey integer, ps_suppkey integer, ps_availqty integer NOT NULL, ps_supplycost numeric(15,2) NOT NULL, ps_comment text,
  PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE UNLOGGED TABLE customer (
  c_custkey integer PRIMARY KEY, c_name varchar(25) NOT NULL, c_address text NOT NULL, c_nationkey integer NOT NULL,
  c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL, c_comment text,
  updated_at timestamptz NOT NULL DEFAULT timestamptz '2025-01-01 00:00Z' + nextval('moment') * interval '50 ms');
CREATE UNLOGGED TABLE orders (
  o_orderkey bigint PRIMARY KEY, o_custkey integer NOT NULL, o_orderstatus char(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL,
  o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL, o_comment text,
  is_deleted boolean NOT NULL DEFAULT false,
  updated_at timestamptz NOT NULL DEFAULT timestamptz '2025-01-01 00:00Z' + nextval('moment') * interval '50 ms');
CREATE UNLOGGED TABLE lineitem (
  l_orderkey bigint, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL,
  l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
  l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT timestamptz '2025-01-01 00:00Z' + nextval('moment') * interval '50 ms',
  PRIMARY KEY (l_orderkey, l_linenumber));
