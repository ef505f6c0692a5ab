//! Tuples made by hand against the batches that they become.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int32Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::model::table::{Column as PlannedColumn, ColumnType};

fn schema(columns: &[(&str, ColumnType, bool)]) -> TableSchema {
    let columns = columns.iter().map(|(name, column_type, nullable)| PlannedColumn {
        name: (*name).to_owned(),
        source_name: (*name).to_owned(),
        source_type: String::new(),
        column_type: column_type.clone(),
        nullable: *nullable,
        comment: None,
    });
    TableSchema {
        columns: columns.collect(),
        key: vec!["id".to_owned()],
        comment: None,
    }
}

fn tuple(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            None => bytes.extend((-1i32).to_be_bytes()),
            Some(field) => {
                bytes.extend(i32::try_from(field.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(field);
            }
        }
    }
    bytes
}

fn one_column(decoder: &Decoder, column_type: &ColumnType, policy: OnInvalid) -> Rows {
    let schema = schema(&[("id", ColumnType::Int32, false), ("v", column_type.clone(), true)]);
    Rows::new(&schema, &[Decoder::Int32, decoder.clone()], policy, 1 << 20)
}

fn array_of(elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(1i32.to_be_bytes());
    bytes.extend(1i32.to_be_bytes());
    bytes.extend(23i32.to_be_bytes());
    bytes.extend(i32::try_from(elements.len()).unwrap().to_be_bytes());
    bytes.extend(1i32.to_be_bytes());
    bytes.extend(tuple(elements));
    bytes
}

#[test]
fn rows_become_a_batch_and_the_next_batch_begins_empty() {
    let mut rows = one_column(&Decoder::Text, &ColumnType::Text, OnInvalid::Fail);
    for n in 0..2i32 {
        rows.take(&tuple(&[Some(&n.to_be_bytes()), Some("häß".as_bytes())]))
            .unwrap();
        rows.take(&tuple(&[Some(&n.to_be_bytes()), None])).unwrap();
        let batch = rows.batch().unwrap().unwrap().rows;
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), n);
        assert_eq!(batch.column(1).as_string::<i32>().value(0), "häß");
        assert!(batch.column(1).is_null(1));
    }
    assert_eq!(rows.total(), 4);
    assert!(rows.batch().unwrap().is_none());
}

#[test]
fn a_batch_is_full_by_bytes_or_by_rows() {
    let mut rows = one_column(&Decoder::Text, &ColumnType::Text, OnInvalid::Fail);
    rows.take(&tuple(&[Some(&[0; 4]), Some(&vec![b'x'; 1 << 20])])).unwrap();
    assert!(rows.is_full());
    rows.batch().unwrap();
    for _ in 0..BATCH_ROWS_MAX {
        assert!(!rows.is_full());
        rows.take(&tuple(&[Some(&[0; 4]), None])).unwrap();
    }
    assert!(rows.is_full());
}

#[test]
fn a_value_without_counterpart_follows_the_policy_and_names_column_and_key() {
    let infinity = i64::MAX.to_be_bytes();
    let row = tuple(&[Some(&42i32.to_be_bytes()), Some(&infinity)]);
    let mut rows = one_column(&Decoder::Timestamp, &ColumnType::Timestamp, OnInvalid::Fail);
    let e = rows.take(&row).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataRejected);
    assert!(
        e.to_string()
            .starts_with("cannot keep column 'v' of the row with id = 42: infinity"),
        "{e}"
    );
    let mut rows = one_column(&Decoder::Timestamp, &ColumnType::Timestamp, OnInvalid::Null);
    rows.take(&row).unwrap();
    let batch = rows.batch().unwrap().unwrap();
    assert!(batch.rows.column(1).is_null(0));
    let expected = Nulled {
        row: 0,
        column: 1,
        values: 1,
    };
    assert_eq!(batch.nulled, [expected]);
}

#[test]
fn days_and_instants_begin_in_the_year_2000() {
    let mut rows = one_column(&Decoder::Date, &ColumnType::Date, OnInvalid::Fail);
    for days in [0i32, -10_957, 2_921_939, -730_119] {
        rows.take(&tuple(&[Some(&[0; 4]), Some(&days.to_be_bytes())])).unwrap();
    }
    let batch = rows.batch().unwrap().unwrap().rows;
    assert_eq!(
        batch.column(1).as_primitive::<Date32Type>().values(),
        &[10_957, 0, 2_932_896, -719_162]
    );
    for days in [2_921_940i32, -730_120] {
        assert!(rows.take(&tuple(&[Some(&[0; 4]), Some(&days.to_be_bytes())])).is_err());
    }
    let mut rows = one_column(&Decoder::TimestampNtz, &ColumnType::TimestampNtz, OnInvalid::Fail);
    rows.take(&tuple(&[Some(&[0; 4]), Some(&0i64.to_be_bytes())])).unwrap();
    let batch = rows.batch().unwrap().unwrap().rows;
    assert_eq!(
        batch.column(1).as_primitive::<TimestampMicrosecondType>().value(0),
        946_684_800_000_000
    );
}

#[test]
fn a_list_keeps_null_and_empty_apart_and_refuses_more_dimensions() {
    let list = ColumnType::List(Box::new(ColumnType::Int32));
    let mut rows = one_column(&Decoder::List(Box::new(Decoder::Int32)), &list, OnInvalid::Fail);
    let full = array_of(&[Some(&7i32.to_be_bytes()), None]);
    let empty = [0i32.to_be_bytes(), 0i32.to_be_bytes(), 23i32.to_be_bytes()].concat();
    for field in [Some(full.as_slice()), None, Some(empty.as_slice())] {
        rows.take(&tuple(&[Some(&[0; 4]), field])).unwrap();
    }
    let batch = rows.batch().unwrap().unwrap().rows;
    let lists = batch.column(1).as_list::<i32>();
    assert_eq!(
        (lists.value(0).len(), lists.is_null(1), lists.value(2).len()),
        (2, true, 0)
    );
    assert!(!lists.is_null(2));
    assert!(lists.value(0).is_null(1));
    let mut nested = full.clone();
    nested[3] = 2;
    let e = rows.take(&tuple(&[Some(&[0; 4]), Some(&nested)])).unwrap_err();
    assert!(e.to_string().contains("more than one dimension"), "{e}");
}

#[test]
fn a_null_where_the_plan_saw_none_is_an_error() {
    let mut rows = one_column(&Decoder::Text, &ColumnType::Text, OnInvalid::Fail);
    let e = rows.take(&tuple(&[None, None])).unwrap_err();
    assert!(
        e.to_string().contains("'id'") && e.to_string().contains("NOT NULL"),
        "{e}"
    );
}

#[test]
fn text_that_is_not_utf8_is_refused_without_its_bytes() {
    let mut rows = one_column(&Decoder::Text, &ColumnType::Text, OnInvalid::Fail);
    rows.take(&tuple(&[Some(&[0; 4]), Some(b"secret\xff")])).unwrap();
    let e = rows.batch().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataRejected);
    assert!(
        e.chain().contains("'v'") && !e.chain().contains("secret"),
        "{}",
        e.chain()
    );
}

#[test]
fn small_types_render_as_the_server_does() {
    for (decoder, bytes, text) in [
        (
            Decoder::Uuid,
            &[0x12u8, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8][..],
            "12345678-9abc-def0-0102-030405060708",
        ),
        (Decoder::Jsonb, b"\x01{\"a\": 1}", "{\"a\": 1}"),
        (Decoder::CharByte, b"x", "x"),
        (Decoder::CharByte, b"\0", ""),
        (Decoder::CharByte, b"\xc3", "\\303"),
    ] {
        let mut rows = one_column(&decoder, &ColumnType::Text, OnInvalid::Fail);
        rows.take(&tuple(&[Some(&[0; 4]), Some(bytes)])).unwrap();
        let batch = rows.batch().unwrap().unwrap().rows;
        assert_eq!(batch.column(1).as_string::<i32>().value(0), text);
    }
}

#[test]
fn a_numeric_keeps_its_declared_decimal() {
    let mut rows = one_column(&Decoder::Decimal(18, 4), &ColumnType::Decimal(18, 4), OnInvalid::Fail);
    // 1.5: one digit before the point, 5000 after it.
    let value = [0u8, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x13, 0x88];
    rows.take(&tuple(&[Some(&[0; 4]), Some(&value)])).unwrap();
    let batch = rows.batch().unwrap().unwrap().rows;
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(0), 15_000);
}

fn any_decoder() -> impl Strategy<Value = (Decoder, ColumnType)> {
    prop_oneof![
        Just((Decoder::Bool, ColumnType::Boolean)),
        Just((Decoder::Int16, ColumnType::Int16)),
        Just((Decoder::Int64, ColumnType::Int64)),
        Just((Decoder::Oid, ColumnType::Int64)),
        Just((Decoder::Float64, ColumnType::Float64)),
        Just((Decoder::Decimal(20, 5), ColumnType::Decimal(20, 5))),
        Just((Decoder::Integer(16), ColumnType::Int16)),
        Just((Decoder::Text, ColumnType::Text)),
        Just((Decoder::Jsonb, ColumnType::Text)),
        Just((Decoder::Uuid, ColumnType::Text)),
        Just((Decoder::Binary, ColumnType::Binary)),
        Just((Decoder::Date, ColumnType::Date)),
        Just((Decoder::Timestamp, ColumnType::Timestamp)),
        Just((
            Decoder::List(Box::new(Decoder::Text)),
            ColumnType::List(Box::new(ColumnType::Text))
        )),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic((decoder, column_type) in any_decoder(), bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut rows = one_column(&decoder, &column_type, OnInvalid::Null);
        let _ = rows.take(&bytes);
        let mut rows = one_column(&decoder, &column_type, OnInvalid::Null);
        if rows.take(&tuple(&[Some(&[0; 4]), Some(&bytes)])).is_ok() {
            let _ = rows.batch();
        }
    }
}
