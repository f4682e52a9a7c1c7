//! As much of JSON Schema as our documents use: an unknown keyword is an error, so that no rule is passed over.

use serde_json::Value;

/// What of `value` does not fit `schema`; references are looked up in `document`.
pub(crate) fn misfits(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap_or_else(|| panic!("{at}: {schema} is no schema")) {
        let numbers = |rule: &Value| rule.as_u64().unwrap_or_else(|| panic!("{at}: {keyword} is no number"));
        match keyword.as_str() {
            "description" | "title" | "format" | "example" => {}
            "$ref" => {
                let path =
                    rule.as_str().and_then(|path| path.strip_prefix('#')).expect("a reference within the document");
                let target = document.pointer(path).unwrap_or_else(|| panic!("{at}: there is no {path}"));
                found.extend(misfits(document, target, value, at));
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|kind| is(value, kind.as_str().expect("a type is a word"))) {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
            }
            "const" => {
                if value != rule {
                    found.push(format!("{at}: {value} is not {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("is a list").contains(value) {
                    found.push(format!("{at}: {value} is none of {rule}"));
                }
            }
            "minimum" => {
                if value.as_u64().is_none_or(|number| number < numbers(rule)) && value.is_number() {
                    found.push(format!("{at}: {value} is less than {rule}"));
                }
            }
            "maximum" => {
                if value.as_u64().is_some_and(|number| number > numbers(rule)) {
                    found.push(format!("{at}: {value} is more than {rule}"));
                }
            }
            "maxLength" => {
                if value.as_str().is_some_and(|text| text.len() as u64 > numbers(rule)) {
                    found.push(format!("{at}: is longer than {rule}"));
                }
            }
            "maxProperties" => {
                if value.as_object().is_some_and(|members| members.len() as u64 > numbers(rule)) {
                    found.push(format!("{at}: has more than {rule} members"));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(misfits(document, rule, item, &format!("{at}[{index}]")));
                }
            }
            "required" => {
                for name in rule.as_array().expect("is a list").iter().filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().expect("are members") {
                    if let Some(member) = value.get(name) {
                        found.extend(misfits(document, rule, member, &format!("{at}.{name}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, member) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(true) => {}
                        Value::Bool(false) => found.push(format!("{at}: {name} is not described")),
                        rule => found.extend(misfits(document, rule, member, &format!("{at}.{name}"))),
                    }
                }
            }
            "oneOf" => {
                let tried: Vec<Vec<String>> =
                    rule.as_array().expect("is a list").iter().map(|rule| misfits(document, rule, value, at)).collect();
                let fit = tried.iter().filter(|misfits| misfits.is_empty()).count();
                if fit != 1 {
                    found.push(format!("{at}: fits {fit} of {}: {tried:?}", tried.len()));
                }
            }
            other => panic!("{at}: this validator does not know {other}"),
        }
    }
    found
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}
