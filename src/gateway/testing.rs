//! Help for the tests of this room: a gateway without sockets. Sessions are made by hand, and what is sent
//! to them is read from their outboxes.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::load::{Loaded, draft};
use crate::config::{Environment, Paths};
use crate::gateway::attendance;
use crate::gateway::auth::{AuthMethod, SharedAuth};
use crate::gateway::context::Context;
use crate::gateway::grounds::Grounds;
use crate::gateway::locality::Locality;
use crate::gateway::presence::{Presence, Row};
use crate::gateway::rpc::dispatch;
use crate::gateway::session::Session;
use crate::gateway::settings::GatewaySettings;
use crate::gateway::timer::Timer;
use crate::identity::{DeviceId, DeviceKey, Token};
use crate::net::Outbox;
use crate::net::outbox::Errand;
use crate::pairing::{Change, Part, State};
use crate::protocol::connect::ClientInfo;
use crate::protocol::frame::Request;
use crate::protocol::limits::MAX_BUFFERED_BYTES;
use crate::protocol::scope::Role;
use crate::store::testing::TempDir;
use crate::store::{Lock, ManualClock, Purpose, StateDir, Store};

/// What the clock shows at first, epoch milliseconds.
pub const START_MS: u64 = 1_700_000_000_000;

/// How long a test waits for what happens on another thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway with its state in a directory of its own.
pub struct House {
    pub context: Arc<Context>,
    pub clock: Arc<ManualClock>,
    timer: Option<JoinHandle<()>>,
    dir: TempDir,
    sessions: Cell<u32>,
}

/// One session and what was sent to it.
pub struct Guest<'a> {
    house: &'a House,
    pub session: Arc<Session>,
    requests: Cell<u32>,
    unread: RefCell<Vec<Value>>,
}

impl House {
    pub fn new() -> House {
        House::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut GatewaySettings)) -> House {
        let dir = TempDir::new();
        let clock = Arc::new(ManualClock::at(START_MS));
        let state_dir = StateDir::open(dir.path()).unwrap();
        let lock = Lock::acquire_state(&state_dir, Purpose::Gateway).unwrap();
        let store = Store::with_clock(lock, clock.clone()).unwrap();
        let (timer, thread) = Timer::start().unwrap();
        let auth = SharedAuth::Token(Token::from("secret"));
        let mut settings = GatewaySettings::local(dir.path().to_owned(), auth);
        change(&mut settings);
        let own = Row {
            host: Some("gateway".to_owned()),
            ..Row::default()
        };
        let key = DeviceKey::from_seed(&[7; 32]).unwrap();
        let context = Context::new(settings, store, key, timer, Presence::new(own), None);
        House {
            context,
            clock,
            timer: Some(thread),
            dir,
            sessions: Cell::new(0),
        }
    }

    /// Replaces one part of the pairing state.
    pub fn seed(&self, part: Part, document: Value) {
        self.transact(|state| {
            state.read(part, document.clone()).unwrap();
            vec![Change::Save(part)]
        });
    }

    /// Makes every save fail from now on.
    pub fn break_disk(&self) {
        std::fs::remove_dir_all(self.dir.path()).unwrap();
        std::fs::write(self.dir.path(), "not a directory").unwrap();
    }

    /// Makes the disk usable again.
    pub fn mend_disk(&self) {
        std::fs::remove_file(self.dir.path()).unwrap();
        std::fs::create_dir_all(self.dir.path()).unwrap();
    }

    pub fn transact(&self, mut operation: impl FnMut(&mut State) -> Vec<Change>) {
        let done = self
            .context
            .store
            .transact(|state, _| Ok::<_, ()>(((), operation(state))));
        done.unwrap();
    }

    /// An operator with the shared secret and no device.
    pub fn operator(&self, scopes: &[&str]) -> Guest<'_> {
        self.join(|session| session.scopes = scopes.iter().copied().collect())
    }

    /// An operator session of a device, authenticated by its token.
    pub fn device_operator(&self, device: &str, scopes: &[&str]) -> Guest<'_> {
        self.join(|session| {
            session.scopes = scopes.iter().copied().collect();
            session.device = Some(DeviceId::from(device));
            session.auth = AuthMethod::DeviceToken;
        })
    }

    /// A Linux node that declares `commands`.
    pub fn node(&self, id: &str, commands: &[&str]) -> Guest<'_> {
        self.join(|session| {
            session.role = Role::Node;
            session.device = Some(DeviceId::from(id));
            session.auth = AuthMethod::DeviceToken;
            session.client.id = "node-host".to_owned();
            session.client.mode = "node".to_owned();
            session.declared = commands.iter().map(|word| (*word).to_owned()).collect();
            session.caps = vec!["system".to_owned()];
        })
    }

    /// A node whose commands are approved.
    pub fn paired_node(&self, id: &str, commands: &[&str]) -> Guest<'_> {
        self.seed(Part::NodesPaired, json!({id: node_record(id, commands)}));
        self.node(id, commands)
    }

    pub fn join(&self, change: impl FnOnce(&mut Session)) -> Guest<'_> {
        self.sessions.set(self.sessions.get() + 1);
        let mut session = Session {
            auth: AuthMethod::Token,
            caps: Vec::new(),
            client: ClientInfo {
                id: "cli".to_owned(),
                mode: "cli".to_owned(),
                version: "1.0".to_owned(),
                platform: "linux".to_owned(),
                ..ClientInfo::default()
            },
            conn: format!("conn-{}", self.sessions.get()).into(),
            connected_at_ms: self.context.now_ms(),
            declared: Vec::new(),
            device: None,
            device_family: None,
            grounds: Grounds {
                browser: None,
                proxy: None,
                secret: self.context.rules().generation(),
            },
            locality: Locality::DirectLocal,
            outbox: Outbox::new(MAX_BUFFERED_BYTES).unwrap(),
            path_env: None,
            permissions: None,
            platform: "linux".to_owned(),
            protocol: 3,
            reported_ip: None,
            role: Role::Operator,
            scopes: Default::default(),
            unauthorized: Default::default(),
        };
        change(&mut session);
        if !session.auth.is_shared_secret() {
            session.grounds.secret = None;
        }
        let session = Arc::new(session);
        attendance::opened(&self.context, &session);
        assert!(
            self.context
                .hub
                .register(session.clone(), "\"hello\"".to_owned())
        );
        let guest = Guest {
            house: self,
            session,
            requests: Cell::new(0),
            unread: RefCell::default(),
        };
        assert_eq!(guest.next(), Some(json!("hello")));
        guest
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.context.timer.stop();
        if let Some(thread) = self.timer.take() {
            thread.join().unwrap();
        }
    }
}

impl Guest<'_> {
    /// Sends a request and returns its id.
    pub fn start(&self, method: &str, params: Value) -> String {
        self.requests.set(self.requests.get() + 1);
        let id = format!("{}:{}", self.session.conn, self.requests.get());
        let request = Request {
            id: id.clone(),
            method: method.to_owned(),
            params: Some(params),
        };
        dispatch(&self.house.context, &self.session, request);
        id
    }

    /// Sends a request that is answered at once and returns its payload.
    pub fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.answer_now(method, params);
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        answer["payload"].clone()
    }

    /// Sends a request that is refused at once and returns its error.
    pub fn refused(&self, method: &str, params: Value) -> Value {
        let answer = self.answer_now(method, params);
        assert_eq!(answer["ok"], false, "{method}: {answer}");
        answer["error"].clone()
    }

    fn answer_now(&self, method: &str, params: Value) -> Value {
        let id = self.start(method, params);
        self.take(|frame| frame["id"] == id.as_str())
            .unwrap_or_else(|| panic!("{method} is not answered"))
    }

    /// Waits for the answer to request `id`: the whole frame.
    pub fn answer(&self, id: &str) -> Value {
        self.wait(|frame| frame["id"] == id)
    }

    /// Waits for the next event of this name: the whole frame.
    pub fn event(&self, name: &str) -> Value {
        self.wait(|frame| frame["event"] == name)
    }

    /// The next event of this name, if one was sent.
    pub fn event_now(&self, name: &str) -> Option<Value> {
        self.take(|frame| frame["event"] == name)
    }

    /// The next frame that was sent.
    pub fn next(&self) -> Option<Value> {
        self.take(|_| true)
    }

    /// Closes the connection as its thread would.
    pub fn leave(&self) {
        self.session.end(1000, "");
        self.house.context.hub.remove(&self.session.conn);
        attendance::closed(&self.house.context, &self.session);
    }

    fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.take(&wanted) {
                return frame;
            }
            assert!(
                Instant::now() < deadline,
                "{} waits in vain",
                self.session.conn
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn take(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut unread = self.unread.borrow_mut();
        while let Errand::Send { text, .. } = self.session.outbox.next() {
            unread.push(serde_json::from_str(&text).unwrap());
        }
        let found = unread.iter().position(wanted)?;
        Some(unread.remove(found))
    }
}

/// A node-pairing record.
pub fn node_record(id: &str, commands: &[&str]) -> Value {
    json!({"nodeId": id, "token": format!("node-token-{id}"), "commands": commands, "caps": ["system"],
        "createdAtMs": 1, "approvedAtMs": 2})
}

/// A device record with one token per role.
pub fn device_record(id: &str, roles: &[(&str, &[&str])]) -> Value {
    let names: Vec<&str> = roles.iter().map(|(role, _)| *role).collect();
    let scopes: Vec<&str> = roles
        .iter()
        .flat_map(|(_, scopes)| scopes.iter().copied())
        .collect();
    let tokens: serde_json::Map<String, Value> = roles
        .iter()
        .map(|(role, scopes)| {
            let token = format!("device-token-{id}-{role}");
            let entry = json!({"token": token, "role": role, "scopes": scopes, "createdAtMs": 1});
            ((*role).to_owned(), entry)
        })
        .collect();
    json!({"deviceId": id, "publicKey": "key", "roles": names, "role": names.first(), "scopes": scopes,
        "approvedScopes": scopes, "tokens": tokens, "createdAtMs": 1, "approvedAtMs": 2})
}

/// What a configuration file with `text` and these environment variables say.
pub fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let environment =
        Environment::from_pairs(variables.iter().copied().chain([("HOME", "/nowhere")]));
    let paths = Paths::resolve(&environment, None).unwrap();
    let draft = draft(Some(text), &paths, &environment).unwrap();
    assert_eq!(draft.issues(), []);
    draft.build(&paths)
}
