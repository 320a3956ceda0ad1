//! `devices export` and `devices import`: pairings move from one gateway to another.

use std::io::{Read, stdin};
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::administration::{Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::nodes::{ended, with_note};
use crate::cli::output::text::{counted, plain};
use crate::cli::{output, row};
use crate::pairing::transfer::{self, Bundle};
use crate::protocol::scope::Scope;
use crate::store::atomic::{PRIVATE_FILE, write};
use crate::store::{Clock, StoreError, SystemClock};

const METHOD: &str = "device.pair.import";

/// `devices export`.
///
/// # Errors
/// The file cannot be written, and as every administration command.
pub fn export(invocation: &Invocation) -> Result<Answer, CliError> {
    // Who holds less is shown its own device alone.
    let mut gateway = open(invocation, &[Scope::ADMIN], Fallback::Offline)?;
    let devices = gateway.call("device.pair.list", &json!({}))?;
    let nodes = gateway.call("node.pair.list", &json!({}))?;
    let (devices, nodes) = (row::rows(&devices, "paired"), row::rows(&nodes, "paired"));
    let exported = transfer::export(devices, nodes, SystemClock.now_ms());
    let Some(path) = invocation.text("output").map(Path::new) else {
        return Ok(with_note(Answer::json(exported), &*gateway));
    };
    let text = output::pretty(&exported) + "\n";
    write(path, text.as_bytes(), PRIVATE_FILE)
        .map_err(|fault| StoreError::unwritable(path, &fault))?;
    let document = json!({"path": path, "devices": devices.len(), "nodes": nodes.len(), "digest": exported["digest"]});
    let text = format!(
        "Exported {} and {} to {}\n",
        counted(devices.len() as u64, "device"),
        counted(nodes.len() as u64, "node"),
        path.display()
    );
    Ok(with_note(Answer::new(document, text), &*gateway))
}

/// `devices import`.
///
/// # Errors
/// A file that is no whole export of this version, a gateway without the method, and as every administration command.
pub fn import(invocation: &Invocation) -> Result<Answer, CliError> {
    let document = read(invocation.required_argument(0)?)?;
    Bundle::read(&document)
        .map_err(|fault| CliError::failed("INVALID_REQUEST", fault.to_string()))?;
    let mut gateway = open(invocation, &[Scope::ADMIN], Fallback::Offline)?;
    if !gateway.knows(METHOD) {
        return Err(CliError::unknown_method(METHOD));
    }
    let dry_run = invocation.has("dry-run");
    let params =
        json!({"export": document, "replace": invocation.has("replace"), "dryRun": dry_run});
    let mut imported = gateway.call(METHOD, &params)?;
    let text = text(&imported, dry_run);
    let ended = ended(&imported);
    imported["dryRun"] = json!(dry_run);
    let mut answer = Answer::new(imported, text);
    answer.notes.extend(ended);
    Ok(with_note(answer, &*gateway))
}

fn read(path: &str) -> Result<Value, CliError> {
    let mut text = String::new();
    let read = match path {
        "-" => stdin().read_to_string(&mut text).map(drop),
        path => std::fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|fault| StoreError::unreadable(Path::new(path), &fault))?;
    let parsed = serde_json::from_str(&text);
    parsed.map_err(|fault| StoreError::malformed(Path::new(path), &fault).into())
}

fn text(imported: &Value, dry_run: bool) -> String {
    let mut out = String::new();
    for (layer, name) in [("device", "devices"), ("node", "nodes")] {
        for found in row::rows(imported, name) {
            let outcome = plain(row::text(found, "outcome").unwrap_or_default());
            out += &format!(
                "{outcome:<9} {layer:<6} {} ({})\n",
                row::label(found),
                plain(row::id(found))
            );
        }
    }
    out += match dry_run {
        true => "Nothing was changed.\n",
        false => {
            "Devices prove their key; each gets its token when it connects with this gateway's shared secret.\n"
        }
    };
    out
}
