//! The launchd property list of a service, as text; and reading back what one on the disk says.

use std::path::PathBuf;

use crate::service::definition::{Definition, text};
use crate::service::error::ServiceError;
use crate::service::quote::one_line;
use crate::service::unit::Installed;

/// Seconds launchd waits at least between two starts.
const THROTTLE_SECONDS: u32 = 1;

/// `umask` of the service, decimal as launchd wants it: 0077.
const UMASK: u32 = 0o077;

/// The property list of a service.
///
/// # Errors
/// As [`crate::service::unit::render`].
pub fn render(definition: &Definition) -> Result<String, ServiceError> {
    let name = &definition.name;
    let mut body = String::new();
    body += &entry("Label", &string("the profile", &name.label())?);
    body += &entry("Comment", &string("the profile", &name.description())?);
    body += &entry("RunAtLoad", "<true/>");
    body += &entry("KeepAlive", "<true/>");
    body += &entry(
        "ThrottleInterval",
        &format!("<integer>{THROTTLE_SECONDS}</integer>"),
    );
    body += &entry("Umask", &format!("<integer>{UMASK}</integer>"));
    let mut arguments = String::from("<array>\n");
    for value in definition.argv()? {
        arguments += &format!("      {}\n", string(&value, &value)?);
    }
    body += &entry("ProgramArguments", &(arguments + "    </array>"));
    let path = "the state directory";
    let [out, err] = log_files(definition);
    body += &entry("StandardOutPath", &string(path, &text(&out)?)?);
    body += &entry("StandardErrorPath", &string(path, &text(&err)?)?);
    let mut environment = String::from("<dict>\n");
    for (name, value) in &definition.environment {
        environment += &format!(
            "      <key>{}</key>\n      {}\n",
            escaped(name),
            string(name, value)?
        );
    }
    body += &entry("EnvironmentVariables", &(environment + "    </dict>"));
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n  <dict>\n{body}  </dict>\n</plist>\n"
    ))
}

fn entry(key: &str, value: &str) -> String {
    format!("    <key>{key}</key>\n    {value}\n")
}

fn string(what: &str, value: &str) -> Result<String, ServiceError> {
    Ok(format!(
        "<string>{}</string>",
        escaped(one_line(what, value)?)
    ))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            // No XML text can hold these, escaped or not.
            it if it.is_ascii_control() && it != '\t' => out += "\u{fffd}",
            it => out.push(it),
        }
    }
    out
}

fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ] {
        out = out.replace(entity, character);
    }
    out
}

/// Reads a property list of the form that this program and the reference write.
pub fn read(document: &str) -> Installed {
    let strings = |key: &str, close: &str| -> Vec<String> {
        let block = document
            .split_once(&format!("<key>{key}</key>"))
            .and_then(|(_, rest)| rest.split_once(close))
            .map_or("", |(block, _)| block);
        texts(block, "string")
    };
    let environment = document
        .split_once("<key>EnvironmentVariables</key>")
        .and_then(|(_, rest)| rest.split_once("</dict>"))
        .map_or("", |(block, _)| block);
    let pairs = texts(environment, "key")
        .into_iter()
        .zip(texts(environment, "string"));
    Installed {
        arguments: strings("ProgramArguments", "</array>"),
        environment: pairs.collect(),
        environment_file: None,
        memory_max: None,
        user: None,
        working_directory: strings("WorkingDirectory", "</string>\n")
            .into_iter()
            .next(),
    }
}

fn texts(block: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let parts = block.split(&open).skip(1);
    parts
        .filter_map(|part| part.split_once(&close))
        .map(|(text, _)| unescaped(text))
        .collect()
}

/// The files that launchd writes the output of a service to.
pub fn log_files(definition: &Definition) -> [PathBuf; 2] {
    let logs = definition.state_dir.join("logs");
    let word = definition.name.kind.word();
    [format!("{word}.log"), format!("{word}.err.log")].map(|name| logs.join(name))
}

#[cfg(test)]
#[path = "plist_tests.rs"]
mod tests;
