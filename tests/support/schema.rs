//! What the program prints as JSON, held against docs/schema/output.json.

use serde_json::{Value, json};
use std::path::Path;

/// A file below docs/.
pub fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Holds a value against a definition of the schema.
#[track_caller]
pub fn fits(definition: &str, value: &Value) {
    let schema = Schema(serde_json::from_str(&document("schema/output.json")).unwrap());
    let mut errors = Vec::new();
    schema.check(&json!({"$ref": format!("#/$defs/{definition}")}), value, definition, &mut errors);
    assert!(errors.is_empty(), "{errors:?}\n{value:#}");
}

/// The part of JSON Schema that the document uses. A word it does not know
/// is an error, and so is a field no schema names: readers are told that fields
/// may be added, and the document has to have them first.
pub struct Schema(pub Value);

impl Schema {
    pub fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let words = schema.as_object().unwrap_or_else(|| panic!("{at}: no schema: {schema}"));
        for (word, is) in words {
            let right = match word.as_str() {
                "description" | "properties" | "additionalProperties" | "contentEncoding" => true,
                "$ref" => {
                    let name = is.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.check(&self.0["$defs"][name], value, at, errors);
                    true
                }
                "type" => match is {
                    Value::Array(types) => types.iter().any(|one| is_type(one, value)),
                    one => is_type(one, value),
                },
                "enum" => is.as_array().unwrap().contains(value),
                "const" => is == value,
                "minimum" => value.as_i64().is_none_or(|number| number >= is.as_i64().unwrap()),
                "maximum" => value.as_i64().is_none_or(|number| number <= is.as_i64().unwrap()),
                "pattern" => value.as_str().is_none_or(|text| match is.as_str().unwrap() {
                    "^[0-9a-f]{64}$" => {
                        text.len() == 64 && text.chars().all(|c| "0123456789abcdef".contains(c))
                    }
                    "^[0-9]+\\.[0-9]+$" => {
                        text.split('.').filter(|part| part.parse::<u64>().is_ok()).count() == 2
                    }
                    other => panic!("{at}: the pattern {other} is not known"),
                }),
                "format" if is == "date-time" => {
                    value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_ok())
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(is, item, &format!("{at}[{number}]"), errors);
                    }
                    true
                }
                "required" => {
                    let missing = |name: &&Value| value.get(name.as_str().unwrap()).is_none();
                    !value.is_object() || is.as_array().unwrap().iter().find(missing).is_none()
                }
                "anyOf" | "oneOf" => {
                    let fitting = is.as_array().unwrap().iter().filter(|one| {
                        let mut found = Vec::new();
                        self.check(one, value, at, &mut found);
                        found.is_empty()
                    });
                    let fitting = fitting.count();
                    fitting == 1 || (word == "anyOf" && fitting > 0)
                }
                other => panic!("{at}: the word {other} is not known"),
            };
            if !right {
                errors.push(format!("{at}: {word} {is}, but it is {value}"));
            }
        }
        let Some(properties) = words.get("properties") else { return };
        for (name, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            match properties.get(name).or(words.get("additionalProperties")) {
                Some(schema) => self.check(schema, value, &at, errors),
                None => errors.push(format!("{at}: the schema has no such field")),
            }
        }
    }
}

fn is_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known"),
    }
}
