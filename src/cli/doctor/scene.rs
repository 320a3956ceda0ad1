//! What all checks share: the places, the configuration, the services, and what kind of machine this is. Gathered
//! once, without waiting for anybody.

use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::reach::endpoint;
use crate::cli::service::Place;
use crate::client::{Endpoint, Purpose};
use crate::config::word::GatewayMode;
use crate::config::{ConfigError, Environment, Issue, Loaded, Paths};
use crate::service::{Kind, Socket};
use crate::store::lock::state_owner;
use crate::store::{Clock, StateDir, SystemClock};

/// What this command finds itself in.
pub struct Scene {
    /// The places of this machine.
    pub paths: Paths,
    /// The environment, `.env` sources included where the configuration can be used.
    pub environment: Environment,
    /// The configuration, or what is wrong with it.
    pub loaded: Result<Loaded, Vec<Issue>>,
    /// The gateway to ask, or why there is none.
    pub endpoint: Result<Endpoint, CliError>,
    /// The gateway's service; `Err` when its place cannot be found.
    pub gateway_service: Result<Place, String>,
    /// The node host's service.
    pub node_service: Result<Place, String>,
    /// The process that holds the state directory.
    pub holder: Option<u32>,
    /// Time for everything together.
    pub budget: Duration,
    /// Now, epoch milliseconds.
    pub now_ms: u64,
}

impl Scene {
    /// Looks around.
    ///
    /// # Errors
    /// Places that cannot be found.
    pub fn of(invocation: &Invocation) -> Result<Scene, CliError> {
        let paths = invocation.paths()?;
        let loaded = match invocation.load(&paths) {
            Ok(loaded) => Ok(loaded),
            Err(CliError::Config(ConfigError::Invalid { issues, .. })) => Err(issues),
            Err(error) => Err(vec![Issue::root(error.to_string())]),
        };
        let environment = match &loaded {
            Ok(loaded) => loaded.environment.clone(),
            Err(_) => invocation.environment().clone(),
        };
        let endpoint = match &loaded {
            Ok(loaded) => endpoint(invocation, &paths, loaded, Purpose::Probe),
            Err(_) => Err(CliError::failed(
                "CONFIG_INVALID",
                "the configuration is not valid",
            )),
        };
        let service = |kind| Place::of(invocation, kind).map_err(|error| error.to_string());
        Ok(Scene {
            gateway_service: service(Kind::Gateway),
            node_service: service(Kind::Node),
            holder: directory(&paths).and_then(|directory| state_owner(&directory)),
            budget: Duration::from_millis(invocation.milliseconds("timeout")),
            now_ms: SystemClock.now_ms(),
            environment,
            endpoint,
            loaded,
            paths,
        })
    }

    /// The state directory, when there is one; none is made.
    pub fn directory(&self) -> Option<StateDir> {
        directory(&self.paths)
    }

    /// Whether commands act on a gateway elsewhere.
    pub fn is_remote(&self) -> bool {
        let loaded = self.loaded.as_ref();
        loaded.is_ok_and(|loaded| loaded.config.gateway.mode == Some(GatewayMode::Remote))
    }

    /// Whether a gateway belongs on this machine: it is configured, installed, or runs.
    pub fn has_gateway(&self) -> bool {
        let loaded = self.loaded.as_ref();
        let configured =
            loaded.is_ok_and(|loaded| loaded.config.gateway.mode == Some(GatewayMode::Local));
        !self.is_remote()
            && (configured || self.holder.is_some() || self.serves(&self.gateway_service))
    }

    /// Whether a node host belongs on this machine: it was set up or installed.
    pub fn has_node_host(&self) -> bool {
        let set_up = self.paths.state_dir.join("node.json").exists();
        set_up || self.serves(&self.node_service)
    }

    /// The command that restarts the gateway of this configuration.
    pub fn restart_gateway(&self) -> String {
        self.gateway_command("restart")
            .unwrap_or("openclaw gateway restart".to_owned())
    }

    /// The command that has a gateway of this configuration run.
    pub fn start_gateway(&self) -> String {
        let offered = |place: &&Place| place.system && place.is_offered();
        let enable = |place: &Place| place.systemctl("enable --now");
        let offered = self.gateway_service.as_ref().ok().filter(offered);
        let command = self.gateway_command("start").or(offered.map(enable));
        command.unwrap_or("openclaw gateway install".to_owned())
    }

    /// The socket that starts the gateway of this configuration; its manager is asked.
    pub fn gateway_socket(&self) -> Option<Socket> {
        let place = self.gateway_service.as_ref().ok()?;
        let serves = self.serves(&self.gateway_service);
        serves.then(|| place.manager().socket()).flatten()
    }

    fn gateway_command(&self, word: &str) -> Option<String> {
        let place = self.gateway_service.as_ref().ok()?;
        let serves = self.serves(&self.gateway_service);
        serves.then(|| place.command_as_owner(word))
    }

    /// Whether a service is set up that works on the places of this command, not on another account's.
    fn serves(&self, service: &Result<Place, String>) -> bool {
        service
            .as_ref()
            .is_ok_and(|place| place.is_set_up() && place.serves(&self.paths))
    }
}

fn directory(paths: &Paths) -> Option<StateDir> {
    // Opening makes a directory that is not there.
    let root = &paths.state_dir;
    root.is_dir().then(|| StateDir::open(root).ok()).flatten()
}
