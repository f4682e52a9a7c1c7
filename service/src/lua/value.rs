//! Between Lua's values and JSON's. A value keeps its kind: 1 stays an integer and 1.0 a float, on the way in and out.
//!
//! A table is a list if its keys are 1 to n, and an object if they are texts; what is neither is refused with a sentence,
//! since whoever saved it would miss a part of it later. An empty list that was read stays a list: it carries a mark.

use mlua::{Error, Lua, Table, Value as LuaValue};
use serde_json::{Map, Number, Value};

/// Deeper tables are mistakes, or lead to themselves.
const DEPTH_MAX: usize = 64;

/// Where the mark of lists is kept.
const LIST_MARK: &str = "dacapo.list";

/// Makes the mark of lists, once for a state of Lua.
pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let mark = lua.create_table()?;
    mark.raw_set("__name", "list")?;
    lua.set_named_registry_value(LIST_MARK, mark)
}

/// As Lua sees it; JSON's null is nil.
///
/// Where memory has a limit, every single step of the interpreter that may allocate is guarded against running out of it,
/// which costs several times as much as the step. So the limit is lifted for the whole of a value, and asked for afterwards:
/// it can be exceeded by one value, and no script gets to see that value then.
pub(super) fn to_lua(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    if !matches!(value, Value::Array(_) | Value::Object(_)) {
        return made(lua, value);
    }
    let limit = lua.set_memory_limit(0)?;
    let made = made(lua, value);
    lua.set_memory_limit(limit)?;
    if limit > 0 && lua.used_memory() > limit {
        lua.gc_collect()?;
        if lua.used_memory() > limit {
            return Err(Error::MemoryError("not enough memory".to_owned()));
        }
    }
    made
}

fn made(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Null => LuaValue::Nil,
        Value::Bool(truth) => LuaValue::Boolean(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => LuaValue::Integer(integer),
            None => LuaValue::Number(number.as_f64().unwrap_or(f64::INFINITY)),
        },
        Value::String(text) => LuaValue::String(lua.create_string(text)?),
        Value::Array(items) => {
            let list = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in (1..).zip(items) {
                list.raw_set(index, made(lua, item)?)?;
            }
            if items.is_empty() {
                list.set_metatable(Some(lua.named_registry_value(LIST_MARK)?))?;
            }
            LuaValue::Table(list)
        }
        Value::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (name, field) in fields {
                table.raw_set(name.as_str(), made(lua, field)?)?;
            }
            LuaValue::Table(table)
        }
    })
}

/// As JSON has it; why not, in a sentence that names the place.
pub(super) fn of_lua(lua: &Lua, value: &LuaValue) -> mlua::Result<Value> {
    convert(lua, value, 0).map_err(|unfit| Error::RuntimeError(unfit.sentence()))
}

/// Why a value cannot be said in JSON, and where in it.
struct Unfit {
    /// The names that lead there, the last one first.
    path: Vec<String>,
    why: String,
}

impl Unfit {
    fn here(why: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: why.into() }
    }

    fn below(mut self, name: impl Into<String>) -> Self {
        self.path.push(name.into());
        self
    }

    fn sentence(self) -> String {
        let Self { mut path, why } = self;
        path.reverse();
        if path.len() > DEPTH_MAX {
            return format!("the field {}… {why}", path.first().map(String::as_str).unwrap_or_default());
        }
        if path.is_empty() { format!("the value {why}") } else { format!("the field {} {why}", path.join(".")) }
    }
}

fn convert(lua: &Lua, value: &LuaValue, depth: usize) -> Result<Value, Unfit> {
    if depth > DEPTH_MAX {
        return Err(Unfit::here(format!("is nested more than {DEPTH_MAX} deep, or contains itself; save plain data")));
    }
    match value {
        LuaValue::Nil => Ok(Value::Null),
        LuaValue::Boolean(truth) => Ok(Value::Bool(*truth)),
        LuaValue::Integer(integer) => Ok(Value::Number((*integer).into())),
        LuaValue::Number(float) => Number::from_f64(*float)
            .map(Value::Number)
            .ok_or_else(|| Unfit::here(format!("is {float}, which JSON cannot say; check the calculation"))),
        LuaValue::String(text) => match text.to_str() {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => Err(Unfit::here("is a text that is not UTF-8; encode it")),
        },
        LuaValue::Table(table) => convert_table(lua, table, depth),
        other => Err(Unfit::here(format!(
            "is a {}, which cannot be saved or sent; use numbers, texts, booleans and tables",
            other.type_name()
        ))),
    }
}

fn convert_table(lua: &Lua, table: &Table, depth: usize) -> Result<Value, Unfit> {
    let length = table.raw_len();
    let (mut items, mut fields) = (vec![Value::Null; length], Map::new());
    let mut filled = 0;
    let mut visit = |key: LuaValue, value: LuaValue| -> Result<(), Unfit> {
        match key {
            LuaValue::Integer(index) if index >= 1 && index as u64 <= length as u64 => {
                items[index as usize - 1] =
                    convert(lua, &value, depth + 1).map_err(|unfit| unfit.below(index.to_string()))?;
                filled += 1;
            }
            LuaValue::String(name) => {
                let name = name.to_str().map_err(|_| Unfit::here("has a name that is not UTF-8"))?.to_owned();
                match convert(lua, &value, depth + 1) {
                    Ok(value) => drop(fields.insert(name, value)),
                    Err(unfit) => return Err(unfit.below(name)),
                }
            }
            other => {
                let key = other.to_string().unwrap_or_else(|_| other.type_name().to_owned());
                return Err(Unfit::here(format!(
                    "has the key {key}: a table that is saved or sent has either the keys 1 to n, or texts; use \
                     tostring({key}) as key"
                )));
            }
        }
        Ok(())
    };
    let mut unfit = None;
    let walked = table.for_each(|key, value| {
        visit(key, value).map_err(|found| {
            unfit = Some(found);
            Error::RuntimeError(String::new())
        })
    });
    if let Some(unfit) = unfit {
        return Err(unfit);
    }
    walked.map_err(|error| Unfit::here(format!("cannot be walked over: {error}")))?;
    match (filled, fields.is_empty()) {
        (0, true) => {
            let is_list = table.metatable().is_some_and(|metatable| {
                lua.named_registry_value::<Table>(LIST_MARK).is_ok_and(|mark| mark == metatable)
            });
            Ok(if is_list { Value::Array(Vec::new()) } else { Value::Object(fields) })
        }
        (0, false) => Ok(Value::Object(fields)),
        (_, true) if filled == length => Ok(Value::Array(items)),
        (_, true) => Err(Unfit::here("is a list with holes; fill them, or use texts as keys")),
        (_, false) => Err(Unfit::here("is half a list and half an object; make two tables of it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lua() -> Lua {
        let lua = Lua::new();
        install(&lua).unwrap();
        lua
    }

    fn evaluated(code: &str) -> Result<Value, String> {
        let lua = lua();
        let value: LuaValue = lua.load(code).eval().unwrap();
        of_lua(&lua, &value).map_err(|error| error.to_string())
    }

    #[test]
    fn values_keep_their_kind_there_and_back() {
        let lua = lua();
        for text in ["1", "1.0", "-0.5", "true", "\"é\"", "[]", "{}", "[1,2.0,[]]", r#"{"a":{"b":[{"c":1}]}}"#] {
            let value: Value = serde_json::from_str(text).unwrap();
            let there = to_lua(&lua, &value).unwrap();
            assert_eq!(of_lua(&lua, &there).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused_with_its_place() {
        for (code, words) in [
            ("return {a = {b = 0/0}}", "the field a.b is"),
            ("return {1, nil, 3, [7] = 1}", "keys 1 to n"),
            ("return {1, 2, name = 3}", "half a list"),
            ("return {[{}] = 1}", "keys 1 to n"),
            ("return {f = print}", "the field f is a function"),
            ("local t = {} t.t = t return t", "contains itself"),
            ("return '\\xff'", "not UTF-8"),
        ] {
            let refused = evaluated(code).unwrap_err();
            assert!(refused.contains(words), "{code}: {refused}");
        }
    }
}
