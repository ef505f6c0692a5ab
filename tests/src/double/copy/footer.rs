//! What Spark infers from a Parquet footer: column names and types (Spark's `ParquetSchemaConverter`).
//!
//! It refuses what Spark calls illegal, and to guess: an INT64 without annotation is a BIGINT, whatever its writer meant.

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::schema::types::Type;

use super::source::Staged;
use crate::double::sql::column_definitions::Column;
use crate::double::sql_error::SqlError;

/// Delta's and Spark's largest.
const DECIMAL_PRECISION_MAX: i32 = 38;

/// A footer, read.
#[derive(Debug)]
pub struct Footer {
    /// In order.
    pub columns: Vec<Column>,
    /// In all row groups.
    pub rows: u64,
}

/// Reads the footer of a whole file.
pub fn read(bytes: &Bytes) -> Result<Footer, SqlError> {
    let unreadable = |error: parquet::errors::ParquetError| {
        let text = format!("Could not read footer: {error}");
        SqlError::new("FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER", "KD001", text)
    };
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(bytes)
        .map_err(unreadable)?;
    let file = metadata.file_metadata();
    let fields = file.schema_descr().root_schema().get_fields();
    let column = |field: &std::sync::Arc<Type>| Ok(Column::new(field.name(), &spark_type(field)?));
    Ok(Footer {
        columns: fields.iter().map(column).collect::<Result<_, SqlError>>()?,
        rows: u64::try_from(file.num_rows()).unwrap_or_default(),
    })
}

fn illegal(field: &Type, what: &str) -> SqlError {
    let text = format!("Illegal Parquet type: {what} in column '{}'.", field.name());
    SqlError::new("PARQUET_TYPE_ILLEGAL", "42846", text)
}

fn spark_type(field: &Type) -> Result<String, SqlError> {
    if field.is_group() {
        return group_type(field);
    }
    let info = field.get_basic_info();
    let Type::PrimitiveType { physical_type, .. } = field else {
        return Err(illegal(field, "group"));
    };
    if let Some(LogicalType::Decimal(decimal)) = info.logical_type_ref() {
        return decimal_type(field, decimal.precision, decimal.scale);
    }
    if info.logical_type_ref().is_none() && info.converted_type() == ConvertedType::DECIMAL {
        return decimal_type(field, field.get_precision(), field.get_scale());
    }
    let logical = info.logical_type_ref();
    match physical_type {
        Physical::BOOLEAN => Ok("boolean".into()),
        Physical::FLOAT => Ok("float".into()),
        Physical::DOUBLE => Ok("double".into()),
        Physical::INT96 => Ok("timestamp".into()),
        Physical::INT32 => int32_type(field, logical, info.converted_type()),
        Physical::INT64 => int64_type(field, logical, info.converted_type()),
        Physical::BYTE_ARRAY => Ok(byte_array_type(logical, info.converted_type()).into()),
        Physical::FIXED_LEN_BYTE_ARRAY => fixed_type(field, logical, info.converted_type()),
    }
}

fn decimal_type(field: &Type, precision: i32, scale: i32) -> Result<String, SqlError> {
    if precision > DECIMAL_PRECISION_MAX {
        let text = format!(
            "Decimal precision {precision} of column '{}' exceeds max precision 38.",
            field.name()
        );
        return Err(SqlError::new("DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", "22003", text));
    }
    Ok(format!("decimal({precision},{scale})"))
}

fn int32_type(field: &Type, logical: Option<&LogicalType>, converted: ConvertedType) -> Result<String, SqlError> {
    let name = match (logical, converted) {
        (Some(LogicalType::Integer(int)), _) => match (int.bit_width, int.is_signed) {
            (8, true) => "tinyint",
            (16, true) | (8, false) => "smallint",
            (32, true) | (16, false) => "int",
            _ => "bigint",
        },
        (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => "date",
        (Some(LogicalType::Unknown), _) => "void",
        (Some(LogicalType::Time(_)), _) | (None, ConvertedType::TIME_MILLIS) => {
            return Err(illegal(field, "INT32 (TIME(MILLIS))"));
        }
        (None, ConvertedType::INT_8) => "tinyint",
        (None, ConvertedType::INT_16 | ConvertedType::UINT_8) => "smallint",
        (None, ConvertedType::UINT_32) => "bigint",
        (None, _) => "int",
        (Some(other), _) => return Err(illegal(field, &format!("INT32 ({other:?})"))),
    };
    Ok(name.into())
}

fn int64_type(field: &Type, logical: Option<&LogicalType>, converted: ConvertedType) -> Result<String, SqlError> {
    let name = match (logical, converted) {
        (Some(LogicalType::Integer(int)), _) => {
            if int.is_signed {
                "bigint"
            } else {
                "decimal(20,0)"
            }
        }
        (Some(LogicalType::Timestamp(time)), _) => match (&time.unit, time.is_adjusted_to_u_t_c) {
            (TimeUnit::NANOS, _) => return Err(illegal(field, "INT64 (TIMESTAMP(NANOS))")),
            (_, true) => "timestamp",
            (_, false) => "timestamp_ntz",
        },
        (Some(LogicalType::Time(time)), _) => match (&time.unit, time.is_adjusted_to_u_t_c) {
            (TimeUnit::MICROS, false) => "time(6)",
            _ => return Err(illegal(field, "INT64 (TIME)")),
        },
        // What the old annotation says is a time of UTC (parquet-format LogicalTypes), which Spark has none of.
        (None, ConvertedType::TIME_MICROS) => return Err(illegal(field, "INT64 (TIME_MICROS)")),
        (None, ConvertedType::UINT_64) => "decimal(20,0)",
        (None, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS) => "timestamp",
        (None, _) => "bigint",
        (Some(other), _) => return Err(illegal(field, &format!("INT64 ({other:?})"))),
    };
    Ok(name.into())
}

fn byte_array_type(logical: Option<&LogicalType>, converted: ConvertedType) -> &'static str {
    match (logical, converted) {
        (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _) => "string",
        (None, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => "string",
        _ => "binary",
    }
}

fn fixed_type(field: &Type, logical: Option<&LogicalType>, converted: ConvertedType) -> Result<String, SqlError> {
    match (logical, converted) {
        (None, ConvertedType::INTERVAL) => {
            let text = format!("Parquet type not yet supported: INTERVAL in column '{}'.", field.name());
            Err(SqlError::new("PARQUET_TYPE_NOT_SUPPORTED", "42846", text))
        }
        (None, _) => Ok("binary".into()),
        (Some(other), _) => Err(illegal(field, &format!("FIXED_LEN_BYTE_ARRAY ({other:?})"))),
    }
}

fn group_type(field: &Type) -> Result<String, SqlError> {
    let info = field.get_basic_info();
    let fields = field.get_fields();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Variant(_)), _) => Ok("variant".into()),
        (Some(LogicalType::List), _) | (None, ConvertedType::LIST) => {
            let repeated = &fields[0];
            let is_wrapped = repeated.is_group() && repeated.get_fields().len() == 1;
            let element = if is_wrapped {
                &repeated.get_fields()[0]
            } else {
                repeated
            };
            Ok(format!("array<{}>", spark_type(element)?))
        }
        (Some(LogicalType::Map), _) | (None, ConvertedType::MAP) => {
            let entry = fields[0].get_fields();
            Ok(format!("map<{},{}>", spark_type(&entry[0])?, spark_type(&entry[1])?))
        }
        _ => {
            let inner: Result<Vec<String>, SqlError> = fields
                .iter()
                .map(|f| Ok(format!("{}:{}", f.name(), spark_type(f)?)))
                .collect();
            Ok(format!("struct<{}>", inner?.join(",")))
        }
    }
}

/// The one schema of several files. Spark takes the first file's and reads the others with it; a column of another type fails there,
/// one that the first does not have is lost without a word. Both are errors here.
pub fn one_schema(files: &[Staged], is_projected: bool, merges: bool) -> Result<Vec<Column>, SqlError> {
    let mut all: Vec<Column> = files.first().map(|file| file.columns.clone()).unwrap_or_default();
    for file in files {
        for column in &file.columns {
            match all.iter().find(|known| known.is_called(&column.name)) {
                Some(known) if known.type_text == column.type_text => {}
                Some(known) => {
                    let text = format!(
                        "Column '{}' of {} is {}, and {} in another file.",
                        column.name, file.uri, column.type_text, known.type_text
                    );
                    let class = "FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH";
                    return Err(SqlError::new(class, "KD001", text));
                }
                None if merges => all.push(column.clone()),
                None if is_projected => {}
                None => {
                    let text = format!(
                        "{} has a column '{}' that other files do not have.",
                        file.uri, column.name
                    );
                    return Err(SqlError::new(
                        "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE",
                        "42KDG",
                        text,
                    ));
                }
            }
        }
    }
    Ok(all)
}
