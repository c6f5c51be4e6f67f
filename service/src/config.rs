//! Settings from a file; the environment and flags override them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, Parser};
use serde::Deserialize;

/// The flag `--config`; flattened into a program's settings, so that `--help` shows it.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigFile {
    /// YAML file with settings: a map of long flag names, without `--`, to values. The environment overrides it, and flags override both.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value.clone(),
            Self::List(values) => values.iter().map(Self::text).collect::<Vec<_>>().join(","),
        }
    }
}

/// Reads the settings of this process. Like [`Parser::parse`], it prints help and errors of the command line, and ends the process.
///
/// # Errors
/// When the file of `--config` cannot be read, or holds an unknown setting.
pub fn parse<C: Parser>() -> anyhow::Result<C> {
    Ok(C::parse_from(with_file(&C::command(), std::env::args_os())?))
}

/// Adds the settings in the file of `--config` to `args`, without those that `args` or the environment set. It skips the settings of other
/// subcommands, so that all can share a file.
///
/// # Errors
/// When the file cannot be read, is not a map of plain values, or holds a setting that `command` does not have.
pub fn with_file(command: &Command, args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Vec<OsString>> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(path) = value_of(&args, "config").map(PathBuf::from) else { return Ok(args) };
    let settings = read(&path).with_context(|| format!("--config {}", path.display()))?;
    let active = args.iter().skip(1).find_map(|arg| command.find_subcommand(arg)).unwrap_or(command);
    for (name, value) in settings {
        let Some(flag) = active.get_arguments().find(|arg| arg.get_long() == Some(&name)) else {
            let elsewhere = command.get_subcommands().flat_map(Command::get_arguments);
            let known = elsewhere.chain(command.get_arguments()).any(|arg| arg.get_long() == Some(&name));
            // A setting of another subcommand is skipped. A name that no subcommand knows is an error, probably a misspelling.
            anyhow::ensure!(known, "--config {}: there is no setting `{name}`; see --help", path.display());
            continue;
        };
        // Flags override the environment, and the environment overrides the file: the file adds a flag only if neither sets it.
        let in_environment = flag.get_env().is_some_and(|variable| std::env::var_os(variable).is_some());
        if value_of(&args, &name).is_none() && !in_environment {
            args.push(format!("--{name}={}", value.text()).into());
        }
    }
    Ok(args)
}

fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let text = std::fs::read_to_string(path)?;
    // A value may be a secret, and the parser's message may quote it, so the message is dropped.
    serde_saphyr::from_str(&text).map_err(|error| {
        let place = error.location().map(|at| format!(" at line {}", at.line())).unwrap_or_default();
        anyhow::anyhow!("not a YAML map of long flag names to plain values{place}")
    })
}

/// Returns the value of `--<name> value` or `--<name>=value` in `args`.
fn value_of<'a>(args: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let rest = arg.to_str()?.strip_prefix("--")?.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(OsStr::new(value)),
            None if rest.is_empty() => args.get(at + 1).map(OsString::as_os_str),
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Subcommand};

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: What,
    }

    #[derive(Debug, Subcommand)]
    enum What {
        Run(Run),
        Migrate {
            #[arg(long)]
            wait: Option<u64>,
        },
    }

    #[derive(Debug, Args)]
    struct Run {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        url: String,
        #[arg(long, default_value_t = 1)]
        number: u16,
        #[arg(long, value_delimiter = ',')]
        names: Vec<String>,
        // Cargo sets it for every test.
        #[arg(long, env = "CARGO_PKG_NAME")]
        package: String,
    }

    fn run(file: &str, more: &[&str]) -> anyhow::Result<Run> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.yaml");
        std::fs::write(&path, file).unwrap();
        let args = ["program", "run", "--config", path.to_str().unwrap()].into_iter().chain(more.iter().copied());
        let program = Program::try_parse_from(with_file(&Program::command(), args.map(OsString::from))?)?;
        let What::Run(run) = program.command else { panic!("{program:?}") };
        assert_eq!(run.file.config, Some(path));
        Ok(run)
    }

    #[test]
    fn flags_and_the_environment_override_the_file() {
        let file = "url: postgres://a\nnumber: 3\nnames: [x, 7]\npackage: other\nwait: 5\n";
        let all = run(file, &[]).unwrap();
        assert_eq!((all.url.as_str(), all.number, all.names), ("postgres://a", 3, vec!["x".into(), "7".into()]));
        assert_eq!(all.package, "enact-service", "the environment wins");
        assert_eq!(run(file, &["--number", "5"]).unwrap().number, 5);
        assert_eq!(run(file, &["--number=5"]).unwrap().number, 5);
    }

    #[test]
    fn errors_name_the_setting_and_no_secret() {
        let error = run("ulr: x\n", &[]).unwrap_err().to_string();
        assert!(error.contains("there is no setting `ulr`"), "{error}");
        let error = format!("{:#}", run("url: {password: hunter2}\n", &[]).unwrap_err());
        assert!(error.contains("not a YAML map") && !error.contains("hunter2"), "{error}");
        let missing = ["program", "run", "--config", "/nowhere/x.yaml"].map(OsString::from);
        let error = format!("{:#}", with_file(&Program::command(), missing).unwrap_err());
        assert!(error.starts_with("--config /nowhere/x.yaml: "), "{error}");
    }
}
