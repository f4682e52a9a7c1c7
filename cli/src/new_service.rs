//! `dacapo new`: the first files of something of one's own.

use std::{fs, path::Path};

use anyhow::Context as _;
use dacapo_core::ServiceName;

use crate::{
    arguments::NewArguments,
    exit::{Exit, Usage},
    terminal::{Terminal, strong},
};

/// The files of a service; `NAME` in them is its name.
const FILES: &[(&str, &str)] = &[
    ("services/NAME.lua", include_str!("new_service/service.lua")),
    ("workload.lua", include_str!("new_service/workload.lua")),
    ("README.md", include_str!("new_service/README.md")),
];

/// Writes them into a folder of that name, which must not be there.
pub(crate) fn run(terminal: &Terminal, arguments: &NewArguments) -> anyhow::Result<Exit> {
    let name = &arguments.name;
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    if ServiceName::new(name.clone()).is_err() || !name.chars().all(plain) {
        return Err(Usage::error(format!("{name:?} is no name of a folder; use letters, digits, - and _")));
    }
    let folder = Path::new(name);
    if folder.exists() {
        return Err(Usage::error(format!("{name} is there already; choose another name, or remove it")));
    }
    for (file, text) in FILES {
        let path = folder.join(file.replace("NAME", name));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        }
        fs::write(&path, text.replace("NAME", name)).with_context(|| format!("cannot write {}", path.display()))?;
        terminal.object("written", &serde_json::json!({ "file": path.display().to_string() }));
        terminal.line(format_args!("{} {}", strong("wrote"), path.display()));
    }
    terminal.line(format_args!("\nnext:  cd {name}\n       dacapo sim --services services --workload workload.lua"));
    Ok(Exit::Passed)
}
