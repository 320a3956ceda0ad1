//! The program as a child process: the gateway, the node host and single commands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::home::Home;
use super::wait_for;

/// The program under test; `OPENCLAW_TEST_PROGRAM` names another build of it.
pub fn program() -> PathBuf {
    let other = std::env::var_os("OPENCLAW_TEST_PROGRAM");
    other.map_or_else(|| env!("CARGO_BIN_EXE_openclaw").into(), PathBuf::from)
}

/// A command with a bare environment: only what a user's shell at that home would have.
pub fn command(program: &Path, home: &Home) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .env("TMPDIR", home.temp())
        // No test speaks to the networks around the machine; those of discovery make their own.
        .env("OPENCLAW_DISABLE_BONJOUR", "1")
        .current_dir(home.path())
        .stdin(Stdio::null());
    command
}

/// What one command printed and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// stdout as the one JSON document it must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document ({error}): {self:?}"))
    }

    #[track_caller]
    pub fn success(self) -> Outcome {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs one command line of the program at `home`.
#[track_caller]
pub fn openclaw(home: &Home, arguments: &[&str]) -> Outcome {
    openclaw_with(home, &[], arguments)
}

/// Runs one command line with extra environment variables.
#[track_caller]
pub fn openclaw_with(home: &Home, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let mut command = command(&program(), home);
    command.args(arguments).envs(environment.iter().copied());
    finish(command)
}

/// Runs a prepared command to its end.
#[track_caller]
pub fn finish(mut command: Command) -> Outcome {
    let output = command.output().expect("the program starts");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// A long-running child whose output is collected; killed and reaped on drop.
pub struct Running {
    child: Child,
    /// It leads a process group that ends with it.
    group: bool,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub fn start(command: Command) -> Running {
        Self::spawn(command, false)
    }

    /// Starts it as the leader of a process group of its own; whatever it starts ends with it.
    pub fn start_group(mut command: Command) -> Running {
        command.process_group(0);
        Self::spawn(command, true)
    }

    fn spawn(mut command: Command, group: bool) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&output)),
            collect(child.stderr.take().unwrap(), Arc::clone(&output)),
        ];
        Running {
            child,
            group,
            output,
            readers,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the collected output contains `text`.
    #[track_caller]
    pub fn wait_for_output(&mut self, text: &str) {
        let deadline = std::time::Instant::now() + super::PATIENCE;
        loop {
            if self.output().contains(text) {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                self.read_to_end();
                assert!(
                    self.output().contains(text),
                    "ended with {status}:\n{}",
                    self.output()
                );
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "no {text:?} in:\n{}",
                self.output()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Sends a signal by name (`TERM`, `KILL`, …) to this child only.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    pub fn kill(&mut self) {
        self.end_group();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends what it started, once: an empty group's number may belong to somebody else later.
    fn end_group(&mut self) {
        if std::mem::take(&mut self.group) {
            let group = Pid::from_raw(self.pid() as i32).unwrap();
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its own end and returns the exit code (`-1` for a signal).
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = wait_for("the process to end", || self.child.try_wait().unwrap());
        self.end_group();
        self.read_to_end();
        status.code().unwrap_or(-1)
    }

    /// Everything an ended process printed is in the output afterwards.
    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What a failed test asked is often answered in the log alone.
        if std::thread::panicking() {
            eprintln!("process {} said:\n{}", self.pid(), self.output());
        }
        self.kill();
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    })
}

/// A gateway of the program under test with its home.
pub struct Gateway {
    /// Before its home, which it would make again when it logs that it ends.
    pub process: Running,
    pub home: Home,
    pub address: SocketAddr,
    pub token: String,
}

/// The shared secret of the tests' gateways.
pub const SECRET: &str = "harness-secret-5f0c1d";

impl Gateway {
    #[track_caller]
    pub fn start() -> Gateway {
        let port = free_port();
        Self::start_at(Home::with_gateway(port, SECRET), port)
    }

    /// A gateway that speaks TLS, with a certificate of its own making.
    #[track_caller]
    pub fn start_tls() -> Gateway {
        let port = free_port();
        Self::start_at(Home::with_tls_gateway(port, SECRET, ""), port)
    }

    /// Starts on an existing home whose configuration names `port`.
    #[track_caller]
    pub fn start_at(home: Home, port: u16) -> Gateway {
        let process = launch(&home);
        let mut gateway = Gateway {
            home,
            address: ([127, 0, 0, 1], port).into(),
            token: SECRET.to_owned(),
            process,
        };
        gateway.process.wait_for_output("[gateway] ready");
        gateway
    }

    /// Ends the process with SIGKILL and starts it again on the same state.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.home);
        self.process.wait_for_output("[gateway] ready");
    }

    /// One GET request; status line, headers and body as one text.
    pub fn get(&self, path: &str) -> String {
        http(
            self.address,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
    }

    pub fn cli(&self, arguments: &[&str]) -> Outcome {
        openclaw(&self.home, arguments)
    }
}

/// An address of this machine that is not loopback, so that a peer comes "from elsewhere" without leaving
/// the machine; `None` where there is no such interface. No packet is sent to find it.
pub fn outer_address() -> Option<std::net::Ipv4Addr> {
    let probe = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    probe.connect(("192.0.2.1", 9)).ok()?;
    match probe.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

fn launch(home: &Home) -> Running {
    let mut command = command(&program(), home);
    command.args(["gateway", "run"]);
    Running::start(command)
}

/// Sends raw bytes and reads to the end.
pub fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A loopback port below the ephemeral range, so that no outgoing connection takes it meanwhile. Every
/// call gets another one, and no two processes of this harness get the same: a port is this process's
/// own from here to its end, whether somebody listens on it already or not.
#[track_caller]
pub fn free_port() -> u16 {
    static BLOCK: Mutex<Option<Block>> = Mutex::new(None);
    let mut block = BLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match block.as_mut().and_then(|block| block.ports.next()) {
            // Asked by connecting: a listener, even a short one, could live on in a child that another
            // thread is just starting, and keep the gateway from the port.
            Some(port) if TcpStream::connect(("127.0.0.1", port)).is_err() => return port,
            Some(_) => {}
            None => *block = Some(Block::claim()),
        }
    }
}

/// Ports of this process alone. Whoever holds the UDP socket with the number of the first one owns them all;
/// the system gives it back when the process ends, however it ends.
struct Block {
    ports: Range<u16>,
}

impl Block {
    const PORTS: u16 = 100;

    #[track_caller]
    fn claim() -> Block {
        let firsts = || (20_000..32_000).step_by(usize::from(Self::PORTS));
        // Each process starts elsewhere: what a test has just left is not met again at once.
        let away = std::process::id() as usize % firsts().count();
        let mut order = firsts().cycle().skip(away).take(firsts().count());
        let claimed =
            order.find_map(|first| Some((first, UdpSocket::bind(("127.0.0.1", first)).ok()?)));
        let (first, claim) =
            claimed.expect("a block of ports that no other run of the tests holds");
        // Held until this process ends; a used-up block's ports may still be listened on.
        std::mem::forget(claim);
        Block {
            ports: first..first + Self::PORTS,
        }
    }
}
