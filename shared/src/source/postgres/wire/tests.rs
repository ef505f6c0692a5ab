//! Whole answers, cut answers and answers that are not right.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::model::job::OnInvalid;
use crate::model::table::{Column, ColumnType, TableSchema};
use crate::source::postgres::decode::Decoder;

fn rows() -> Rows {
    let column = Column {
        name: "id".into(),
        source_name: "id".into(),
        source_type: "integer".into(),
        column_type: ColumnType::Int32,
        nullable: false,
        comment: None,
    };
    let schema = TableSchema {
        columns: vec![column],
        key: Vec::new(),
        comment: None,
    };
    Rows::new(&schema, &[Decoder::Int32], OnInvalid::Fail, 1 << 20)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn row(id: i32) -> Vec<u8> {
    [&[0, 1, 0, 0, 0, 4][..], &id.to_be_bytes()].concat()
}

fn header() -> Vec<u8> {
    [SIGNATURE.as_slice(), &[0; 8]].concat()
}

/// The messages of an answer of three rows, as servers send them: the header stands before the first row.
fn answer() -> Vec<Vec<u8>> {
    vec![
        message(b'H', &[1, 0, 1, 0, 1]),
        message(b'd', &[header(), row(1)].concat()),
        message(b'N', b"SNOTICE\0\0"),
        message(b'd', &row(2)),
        message(b'd', &row(3)),
        message(b'd', &[0xff, 0xff]),
        message(b'c', &[]),
        message(b'C', b"COPY 3\0"),
        message(b'Z', b"T"),
    ]
}

fn consume(bytes: &[u8], step: usize) -> (Result<Next>, u64) {
    let mut rows = rows();
    let mut reply = Answer::new(1, "cannot read t".into());
    let mut buffer = BytesMut::new();
    let mut last = Ok(Next::Read(1));
    for part in bytes.chunks(step) {
        buffer.extend_from_slice(part);
        last = reply.consume(&mut buffer, &mut rows);
        if last.is_err() {
            break;
        }
    }
    (last, rows.total())
}

#[test]
fn an_answer_is_complete_only_with_its_last_message() {
    let whole: Vec<u8> = answer().concat();
    for cut in 0..whole.len() {
        let (next, _) = consume(&whole[..cut], 7);
        assert!(matches!(next, Ok(Next::Read(_))), "cut at {cut}: {next:?}");
    }
    for step in [1, 2, 5, 4096] {
        let (next, total) = consume(&whole, step);
        assert_eq!((next.unwrap(), total), (Next::End(3), 3));
    }
}

#[test]
fn an_error_in_the_middle_is_an_error() {
    let mut messages = answer();
    messages.truncate(4);
    messages.push(message(b'E', b"SFATAL\0C57P01\0Mterminating connection\0Dsecret\0\0"));
    let e = consume(&messages.concat(), 4096).0.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceBusy);
    assert!(
        e.chain().contains("terminating connection") && !e.chain().contains("secret"),
        "{}",
        e.chain()
    );
}

#[test]
fn a_message_too_few_or_too_many_is_an_error() {
    // Without any of these messages the answer is broken; the notice may be there or not.
    for missing in [0, 1, 5, 6, 7] {
        let mut messages = answer();
        messages.remove(missing);
        assert!(
            consume(&messages.concat(), 4096).0.is_err(),
            "without message {missing}"
        );
    }
    for (at, extra) in [
        (6, message(b'd', &row(4))),
        (3, message(b'T', &[])),
        (1, message(b'd', &[1, 2, 3])),
    ] {
        let mut messages = answer();
        messages.insert(at, extra);
        assert!(consume(&messages.concat(), 4096).0.is_err(), "extra message at {at}");
    }
}

#[test]
fn a_tuple_that_does_not_fill_its_message_is_an_error() {
    for body in [
        row(1)[..8].to_vec(),
        [row(1), vec![0]].concat(),
        [&[0, 2][..], &row(1)[2..]].concat(),
        vec![0],
    ] {
        let mut messages = answer();
        messages[3] = message(b'd', &body);
        assert!(consume(&messages.concat(), 4096).0.is_err(), "{body:?}");
    }
}

#[test]
fn a_statement_is_framed() {
    assert_eq!(query("SELECT 1").unwrap(), b"Q\0\0\0\x0dSELECT 1\0");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
        let _ = consume(&bytes, step);
    }

    #[test]
    fn one_wrong_byte_never_makes_a_shorter_table(at in 0usize..150, byte: u8) {
        let mut whole: Vec<u8> = answer().concat();
        let at = at % whole.len();
        whole[at] = byte;
        if let (Ok(Next::End(counted)), decoded) = consume(&whole, 4096) {
            // The tag itself may have been hit: then the two counts differ and the reader says so.
            prop_assert!(counted != decoded || decoded == 3);
        }
    }
}
