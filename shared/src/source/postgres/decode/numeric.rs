//! PostgreSQL's numeric, base 10,000 on the wire, to a scaled integer: exactly, or not at all.
//!
//! It refuses to round. The layout (digit count, weight, sign, display scale, digits) is `numeric_send` in the
//! server's numeric.c; the value is the sum of digit[i] × 10000^(weight − i).

use super::Fault;

const SIGN_NEGATIVE: u16 = 0x4000;
const SIGN_NAN: u16 = 0xC000;
const SIGN_INFINITY: u16 = 0xD000;
const SIGN_MINUS_INFINITY: u16 = 0xF000;

/// 10^0 … 10^38: the powers an i128 holds.
const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

const TOO_WIDE: Fault = Fault::Misfit(
    "a value has more digits than its target type; declare a wider decimal or \"string\" for it under types",
);
const TOO_FINE: Fault = Fault::Misfit(
    "a value has more digits after the point than its target type; declare a decimal of a larger scale or \"string\" for it under types",
);

/// The value × 10^scale, if it is an integer of at most `precision` digits.
#[inline]
pub(super) fn scaled(bytes: &[u8], precision: u8, scale: u8) -> Result<i128, Fault> {
    let (header, digits) = bytes.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
    let count = usize::from(u16::from_be_bytes([header[0], header[1]]));
    let weight = i32::from(i16::from_be_bytes([header[2], header[3]]));
    let sign = u16::from_be_bytes([header[4], header[5]]);
    match sign {
        0 | SIGN_NEGATIVE => {}
        SIGN_NAN => return Err(Fault::Invalid("NaN")),
        SIGN_INFINITY | SIGN_MINUS_INFINITY => return Err(Fault::Invalid("infinity")),
        _ => return Err(Fault::Malformed),
    }
    if digits.len() != count * 2 {
        return Err(Fault::Malformed);
    }
    if count == 0 {
        return Ok(0);
    }
    let count_i32 = i32::try_from(count).map_err(|_| Fault::Malformed)?;
    // The exponent of ten of the last digit, after scaling.
    let exponent = (weight - count_i32 + 1) * 4 + i32::from(scale);
    let magnitude = magnitude(digits, exponent)?;
    if magnitude >= POWERS[usize::from(precision)] {
        return Err(TOO_WIDE);
    }
    Ok(if sign == SIGN_NEGATIVE { -magnitude } else { magnitude })
}

/// The digits × 10^exponent.
#[inline]
fn magnitude(digits: &[u8], exponent: i32) -> Result<i128, Fault> {
    // Four digits are 16 decimal ones: they fit 64 bits, and most values are no longer.
    if digits.len() <= 8 {
        let value = i128::from(chunks(digits).fold(0i64, |value, digit| value * 10_000 + i64::from(digit)));
        return shifted(value, exponent);
    }
    let (mut digits, mut exponent) = (digits, exponent);
    // Digits that are wholly below the scale must be zeros; `numeric_send` strips those, so this is for safety.
    while exponent <= -4 && digits.ends_with(&[0, 0]) {
        digits = &digits[..digits.len() - 2];
        exponent += 4;
    }
    if exponent <= -4 {
        return Err(TOO_FINE);
    }
    // The last digit may reach below the scale, yet hold zeros there: it is added by itself, so that it cannot overflow.
    let (front, last) = if exponent < 0 {
        digits.split_at(digits.len() - 2)
    } else {
        (digits, &[][..])
    };
    let mut value = 0i128;
    for digit in chunks(front) {
        value = value
            .checked_mul(10_000)
            .and_then(|v| v.checked_add(i128::from(digit)))
            .ok_or(TOO_WIDE)?;
    }
    if last.is_empty() {
        return shifted(value, exponent);
    }
    let last = chunks(last).map(i128::from).sum();
    let front = shifted(value, exponent + 4)?;
    front.checked_add(shifted(last, exponent)?).ok_or(TOO_WIDE)
}

#[inline]
fn chunks(digits: &[u8]) -> impl Iterator<Item = u16> + '_ {
    digits
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

#[inline]
fn shifted(value: i128, exponent: i32) -> Result<i128, Fault> {
    if value == 0 {
        return Ok(0);
    }
    let power = usize::try_from(exponent.unsigned_abs())
        .ok()
        .and_then(|e| POWERS.get(e));
    if exponent >= 0 {
        return power.and_then(|p| value.checked_mul(*p)).ok_or(TOO_WIDE);
    }
    match (power, i64::try_from(value), power.map(|p| i64::try_from(*p))) {
        // 64-bit division is an instruction, 128-bit division a function.
        (_, Ok(value), Some(Ok(power))) if value % power == 0 => Ok(i128::from(value / power)),
        (Some(power), Err(_), _) if value % power == 0 => Ok(value / power),
        _ => Err(TOO_FINE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `numeric_send` writes for a decimal text.
    pub(crate) fn sent(text: &str) -> Vec<u8> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (SIGN_NEGATIVE, rest),
            None => (0, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut padded = whole.to_owned();
        while !padded.len().is_multiple_of(4) {
            padded.insert(0, '0');
        }
        let mut weight = i16::try_from(padded.len() / 4).unwrap() - 1;
        padded.push_str(fraction);
        while !padded.len().is_multiple_of(4) {
            padded.push('0');
        }
        let mut groups: Vec<u16> = (0..padded.len() / 4)
            .map(|g| padded[g * 4..g * 4 + 4].parse().unwrap())
            .collect();
        while groups.last() == Some(&0) {
            groups.pop();
        }
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        let sign = if groups.is_empty() { 0 } else { sign };
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(u16::try_from(fraction.len()).unwrap().to_be_bytes());
        for group in groups {
            bytes.extend(group.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn a_value_that_does_not_fit_exactly_is_refused() {
        let nines = "9".repeat(38);
        for (text, precision, scale, expected) in [
            ("0", 38, 10, Ok(0)),
            ("1.5", 38, 10, Ok(15_000_000_000)),
            ("-0.0001", 4, 4, Ok(-1)),
            ("0.00001", 38, 4, Err(TOO_FINE)),
            ("123.45", 4, 2, Err(TOO_WIDE)),
            ("99.99", 4, 2, Ok(9999)),
            ("100000000", 9, 0, Ok(100_000_000)),
            (nines.as_str(), 38, 0, Ok(POWERS[38] - 1)),
            (
                "1234567890123456789012345678.9012345678",
                38,
                10,
                Ok(12_345_678_901_234_567_890_123_456_789_012_345_678),
            ),
            ("12345678901234567890123456789.9012345678", 38, 10, Err(TOO_WIDE)),
            ("1234567890123456789012345678.90123456789", 38, 10, Err(TOO_FINE)),
        ] {
            assert_eq!(
                scaled(&sent(text), precision, scale),
                expected,
                "{text} as decimal({precision},{scale})"
            );
        }
        let huge = format!("1{}", "0".repeat(1000));
        assert_eq!(scaled(&sent(&huge), 38, 0), Err(TOO_WIDE));
        let tiny = format!("0.{}1", "0".repeat(1000));
        assert_eq!(scaled(&sent(&tiny), 38, 38), Err(TOO_FINE));
    }

    #[test]
    fn what_is_no_number_is_said_to_be_invalid() {
        for (sign, what) in [
            (SIGN_NAN, "NaN"),
            (SIGN_INFINITY, "infinity"),
            (SIGN_MINUS_INFINITY, "infinity"),
        ] {
            let mut bytes = vec![0; 8];
            bytes[4..6].copy_from_slice(&sign.to_be_bytes());
            assert_eq!(scaled(&bytes, 38, 0), Err(Fault::Invalid(what)));
        }
        assert_eq!(scaled(&[0, 1, 0, 0, 0, 0, 0, 0], 38, 0), Err(Fault::Malformed));
        assert_eq!(scaled(&[], 38, 0), Err(Fault::Malformed));
    }

    proptest! {
        #[test]
        fn whatever_fits_arrives_exactly(value in -(POWERS[38] - 1)..POWERS[38], scale in 0u8..=38) {
            let digits = format!("{:0>39}", value.unsigned_abs());
            let (whole, fraction) = digits.split_at(39 - usize::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let text = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            prop_assert_eq!(scaled(&sent(&text), 38, scale), Ok(value));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), scale in 0u8..=38) {
            let _ = scaled(&bytes, 38, scale);
        }
    }
}
