//! Reads JSON in which no member may stand twice.
//!
//! Parsers disagree on which of two equal members counts (RFC 8259, section 4): a token that holds
//! two could mean one thing to us and another to the next reader.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A member stands twice, at any depth.
    Duplicate,
    /// It is not one JSON object and nothing else.
    NotAnObject,
}

/// Reads one JSON object; deeper than 128 levels is refused.
///
/// # Errors
/// When it is anything else, or holds a member twice.
pub(crate) fn read(bytes: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(Strict(_)) => Err(Unreadable::NotAnObject),
        Err(error) if error.to_string().starts_with(DUPLICATE) => Err(Unreadable::Duplicate),
        Err(_) => Err(Unreadable::NotAnObject),
    }
}

const DUPLICATE: &str = "a member stands twice";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reading.deserialize(deserializer).map(Strict)
    }
}

struct Reading;

impl<'de> DeserializeSeed<'de> for Reading {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element_seed(Self)? {
            list.push(entry);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Unreadable, read};

    #[test]
    fn members_that_stand_twice_are_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
        ] {
            assert_eq!(read(text.as_bytes()), Err(Unreadable::Duplicate), "{text}");
        }
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for text in [
            "",
            "1",
            "[]",
            "null",
            "\"a\"",
            "{} {}",
            "{}x",
            "{",
            "{\"a\":1e999}",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":1,}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
            assert_eq!(
                read(text.as_bytes()),
                Err(Unreadable::NotAnObject),
                "{text}"
            );
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}"), Err(Unreadable::NotAnObject));
    }

    #[test]
    fn an_object_is_read_as_it_stands() {
        let text = br#" {"a":[1,-2,0.5,true,null,"x"],"b":{"c":"\u00e9"}} "#;
        let expected = json!({"a": [1, -2, 0.5, true, null, "x"], "b": {"c": "é"}});
        assert_eq!(read(text).ok().as_ref(), expected.as_object());
    }
}
