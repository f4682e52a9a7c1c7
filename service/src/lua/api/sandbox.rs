//! What the prelude needs of the host: chance, the end of a call, the cost of a pattern.

use mlua::{Error, Lua, Table, Value as LuaValue};

use super::{Host, fail};
use crate::lua::run::Stop;

/// What the prelude needs of the host.
pub(super) fn sandbox(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared = host.shared.clone();
    table.set(
        "check",
        lua.create_function(move |_, ()| match &shared.lock().stop {
            None => Ok(()),
            Some(Stop::Spent(sentence) | Stop::Later(sentence)) => Err(Error::RuntimeError(sentence.clone())),
            Some(Stop::Interrupt(_)) => Err(Error::RuntimeError("a state must be fetched first".to_owned())),
        })?,
    )?;
    let shared = host.shared.clone();
    table.set(
        "random",
        lua.create_function(move |lua, (low, high): (Option<i64>, Option<i64>)| {
            let drawn = shared.lock().draw();
            let (low, high) = match (low, high) {
                (None, _) => return Ok(LuaValue::Number((drawn >> 11) as f64 / (1_u64 << 53) as f64)),
                (Some(high), None) => (1, high),
                (Some(low), Some(high)) => (low, high),
            };
            if low > high {
                return fail(lua, format!("math.random: there is no number from {low} to {high}"));
            }
            let width = i128::from(high) - i128::from(low) + 1;
            Ok(LuaValue::Integer((i128::from(low) + i128::from(drawn) % width) as i64))
        })?,
    )?;
    let shared = host.shared.clone();
    table.set(
        "randomseed",
        lua.create_function(move |_, seed: Option<f64>| {
            shared.lock().seed_chance(seed.unwrap_or_default().to_bits());
            Ok(())
        })?,
    )?;
    let most = host.limits.pattern_steps;
    table.set("bound", lua.create_function(move |lua, (subject, pattern): (LuaValue, LuaValue)| {
        let (LuaValue::String(subject), LuaValue::String(pattern)) = (&subject, &pattern) else { return Ok(()) };
        let pattern = pattern.as_bytes();
        let repeats = pattern.iter().filter(|byte| matches!(byte, b'*' | b'+' | b'-')).count();
        let starts = i32::from(pattern.first() != Some(&b'^'));
        let length = subject.as_bytes().len() as f64;
        // Repeats never nest, so each of them tries at most every length at every place.
        if repeats > 0 && length.powi(repeats as i32 + starts) > most {
            return fail(lua, format!(
                "matching {length} bytes with {repeats} repeats may take for ever; match a shorter text, or with fewer \
                 of * + - in the pattern, or begin it with ^"
            ));
        }
        Ok(())
    })?)?;
    Ok(table)
}
