//! JSON of which no object has a field twice.
//!
//! Guarantees: of two fields of one name, readers take the one or the other; so that nothing is routed or held against
//! a schema by the one while somebody is shown the other, such data is refused with the field's name.
//! It is not the judgement of what data means.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use tidings_core::refusal::shown;

/// A JSON value of which no object has a field twice.
#[derive(Debug, PartialEq)]
pub(super) struct Once(pub(super) Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(read.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if read.contains_key(&name) {
                // As serde says it of a type of Rust.
                return Err(A::Error::custom(format_args!("duplicate field `{}`", shown(&name))));
            }
            let Once(value) = fields.next_value()?;
            read.insert(name, value);
        }
        Ok(read.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_core::{Code, Payload};

    use super::*;

    fn read(json: &str) -> Result<Value, Vec<(String, String)>> {
        let payload = Payload::raw(serde_json::from_str(json).expect("JSON"));
        payload.typed::<Once>().map(|once| once.0.clone()).map_err(|error| {
            assert_eq!(error.code(), Code::InvalidData);
            error.fields().iter().map(|(field, why)| (field.clone(), why.clone())).collect()
        })
    }

    #[test]
    fn json_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,3.5,1e300,true,null,"x\ud83d"],"b":{"a":{"a":18446744073709551615}},"":""}"#;
        let expected = json!({
            "a": [1, -2, 3.5, 1e300, true, null, "x\u{fffd}"], "b": {"a": {"a": u64::MAX}}, "": ""
        });
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_by_its_name() {
        let table = [
            (r#"{"buildId":"b2","buildId":"b1"}"#, "data.buildId"),
            (r#"{"buildId":"b1","ok":true,"buildId":"b1"}"#, "data.buildId"),
            (r#"{"build\u0049d":"b2","buildId":"b1"}"#, "data.buildId"),
            (r#"{"buildId":"b1","tests":[{"name":"x"},{"name":"x","name":"y"}]}"#, "data.tests[1].name"),
        ];
        for (json, field) in table {
            assert_eq!(read(json), Err(vec![(field.to_owned(), "is there twice".to_owned())]), "{json}");
        }
    }
}
