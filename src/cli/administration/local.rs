//! Administration on the state directory itself, with the authority of who may write it. The same pairing functions as
//! in the gateway, so the same answers and refusals.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::administration::Administration;
use crate::cli::error::{CliError, Failed};
use crate::config::{Loaded, Paths};
use crate::gateway::registry::Registry;
use crate::gateway::roster::Roster;
use crate::gateway::rpc::refusal_shape;
use crate::identity::{DeviceId, Random, Token};
use crate::pairing::invitation::{self, join_key, preapproval};
use crate::pairing::policy::CommandPolicy;
use crate::pairing::prune::{self, Pruned, Rule};
use crate::pairing::switch::{self, Switch};
use crate::pairing::transfer::{self, Bundle};
use crate::pairing::{Caller, Changes, Refusal, State, device, node, token};
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{
    DeviceKeysCreate, DeviceKeysPreapprove, DevicePairImport, DevicePairRemove, DeviceTokenRevoke,
    DeviceTokenRotate, GatewayPairingOpen, NodeDescribe, NodePairPrune, NodePairRemove, NodeRename,
    PairApprove, parse_key_id, parse_request_id,
};
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::{
    ConfigLock, DeviceAuth, Lock, Purpose, StateDir, Store, TransactError, load_key,
};

/// The pairing files of this machine.
pub struct Local {
    store: Store,
    commands: CommandPolicy,
    pairing_enabled: bool,
    authority: Scopes,
    note: String,
}

impl Local {
    /// Whether a gateway ever kept its pairing files here.
    pub fn has_state(paths: &Paths) -> bool {
        ["devices", "nodes"]
            .iter()
            .any(|name| paths.state_dir.join(name).is_dir())
    }

    /// Takes the state directory that no gateway uses.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Locked`] when one does; unreadable or malformed files.
    pub fn offline(paths: &Paths, loaded: &Loaded) -> Result<Local, CliError> {
        let dir = StateDir::open(&paths.state_dir)?;
        let config = ConfigLock {
            temp_dir: &paths.temp_dir,
            config_file: &paths.config_file,
        };
        let store = Store::open(Lock::acquire(&dir, config, Purpose::Administration)?)?;
        let note = format!(
            "No gateway runs here; working on {}.",
            shown(&paths.state_dir, paths)
        );
        Ok(Local::new(store, loaded, note))
    }

    /// Works on the files of a gateway that runs; it notices the change before its next own.
    ///
    /// # Errors
    /// Unreadable or malformed files.
    pub fn beside(paths: &Paths, loaded: &Loaded) -> Result<Local, CliError> {
        let store = Store::open_beside(StateDir::open(&paths.state_dir)?)?;
        Ok(Local::new(
            store,
            loaded,
            "Direct scope access failed; using local fallback.".to_owned(),
        ))
    }

    fn new(store: Store, loaded: &Loaded, note: String) -> Local {
        let nodes = &loaded.config.gateway.nodes;
        Local {
            store,
            commands: CommandPolicy {
                allow: nodes.allow_commands.clone(),
                deny: nodes.deny_commands.clone(),
            },
            pairing_enabled: nodes.pairing_enabled,
            authority: [Scope::ADMIN].into_iter().collect(),
            note,
        }
    }

    fn read(
        &self,
        look: impl FnOnce(&State, u64) -> Result<Value, CliError>,
    ) -> Result<Value, CliError> {
        let now = self.store.clock().now_ms();
        let state = self.store.snapshot()?;
        look(&state, now)
    }

    fn change<T: Serialize>(
        &self,
        operation: impl FnMut(&mut State, u64) -> Result<(T, Changes), Refusal>,
    ) -> Result<Value, CliError> {
        match self.store.transact(operation) {
            // Nobody is connected here, so there is nobody to tell.
            Ok((answer, _)) => {
                self.remember();
                rendered(&answer)
            }
            Err(TransactError::Refused(refusal)) => Err(refused(refusal_shape(&refusal))),
            Err(TransactError::Store(fault)) => Err(fault.into()),
        }
    }

    /// Writes what became of the request: this process ends with its command, and what it only touched
    /// would end with it. The decision itself is durable already.
    fn remember(&self) {
        if let Err(fault) = self.store.flush() {
            log::warn!("what became of the request is not remembered: {fault}");
        }
    }

    /// The pairing switch, in front of a gateway that does not run.
    fn on_switch(
        &self,
        method: &'static str,
        params: Option<Value>,
        by: &Caller<'_>,
    ) -> Result<Value, CliError> {
        let enabled = self.pairing_enabled;
        match method {
            "gateway.pairing.close" => {
                self.change(|state, now| Ok(switch::close(state, enabled, by, now)))
            }
            "gateway.pairing.open" => {
                let window = GatewayPairingOpen::parse(params).map_err(refused)?.for_ms;
                self.change(|state, now| Ok(switch::open(state, enabled, window, by, now)))
            }
            "gateway.pairing.status" => {
                self.read(|state, now| rendered(&Switch::of(state, enabled).standing(now)))
            }
            other => Err(needs_gateway(other)),
        }
    }

    /// A list with how the switch stands, where it is not simply open, as a gateway answers.
    fn listed<T: Serialize>(&self, look: impl FnOnce(&State, u64) -> T) -> Result<Value, CliError> {
        self.read(|state, now| {
            let mut listed = rendered(&look(state, now))?;
            Switch::of(state, self.pairing_enabled).mention(now, &mut listed);
            Ok(listed)
        })
    }

    /// What `node.list` and `node.describe` say when no node is connected.
    fn nodes(
        &self,
        look: impl FnOnce(&Roster<'_>, u64) -> Result<Value, CliError>,
    ) -> Result<Value, CliError> {
        self.read(|state, now| {
            let registry = Registry::default();
            look(&Roster::new(state, &registry, &self.commands, now), now)
        })
    }

    fn on_devices(
        &self,
        method: &'static str,
        params: Option<Value>,
        by: &Caller<'_>,
    ) -> Result<Value, CliError> {
        match method {
            "device.pair.approve" => {
                let asked = PairApprove::parse(method, params).map_err(refused)?;
                let (id, expected) = (asked.request_id.as_str(), asked.expected_digest.as_deref());
                self.change(|state, now| device::approve(state, id, expected, by, now, &mut Random))
                    .map(nothing_live)
            }
            "device.pair.import" => {
                let asked = DevicePairImport::parse(params).map_err(refused)?;
                let bundle = Bundle::read(&asked.export);
                let bundle = bundle
                    .map_err(|fault| CliError::failed("INVALID_REQUEST", fault.to_string()))?;
                let import = |state: &mut State, now: u64| {
                    transfer::import(state, &bundle, asked.replace, by, now, &mut Random)
                };
                match asked.dry_run {
                    true => self.read(|state, now| {
                        let would = import(&mut state.clone(), now);
                        let (imported, _) =
                            would.map_err(|refusal| refused(refusal_shape(&refusal)))?;
                        rendered(&imported)
                    }),
                    false => self.change(import).map(nothing_live),
                }
            }
            "device.pair.list" => self.listed(|state, now| device::list(state, by, now)),
            "device.pair.reject" => {
                let id = parse_request_id(method, params).map_err(refused)?;
                self.change(|state, now| device::reject(state, id.as_str(), by, now))
            }
            "device.pair.remove" => {
                let asked = DevicePairRemove::parse(params).map_err(refused)?;
                self.change(|state, now| device::remove(state, &asked.device_id, by, now))
                    .map(nothing_live)
            }
            "device.token.revoke" => {
                let asked = DeviceTokenRevoke::parse(params).map_err(refused)?;
                let (device, role) = (&asked.device_id, &asked.role);
                self.change(|state, now| token::revoke(state, device, role, by, now))
                    .map(nothing_live)
            }
            "device.token.rotate" => {
                let asked = DeviceTokenRotate::parse(params).map_err(refused)?;
                let (device, role, scopes) = (&asked.device_id, &asked.role, asked.scopes.as_ref());
                self.change(|state, now| {
                    token::rotate(state, device, role, scopes, by, now, &mut Random)
                })
                .map(nothing_live)
            }
            other => Err(needs_gateway(other)),
        }
    }

    fn on_keys(
        &self,
        method: &'static str,
        params: Option<Value>,
        by: &Caller<'_>,
    ) -> Result<Value, CliError> {
        match method {
            "device.keys.create" => {
                let asked = DeviceKeysCreate::parse(params).map_err(refused)?;
                self.change(|state, now| {
                    join_key::create(state, asked.clone().into(), by, now, &mut Random)
                })
            }
            "device.keys.list" => self.read(|state, now| {
                let listed = invitation::list(state, by, now);
                rendered(&listed.map_err(|refusal| refused(refusal_shape(&refusal)))?)
            }),
            "device.keys.preapprove" => {
                let asked = DeviceKeysPreapprove::parse(params).map_err(refused)?;
                self.change(|state, now| {
                    preapproval::preapprove(state, asked.clone().into(), by, now)
                })
            }
            "device.keys.revoke" => {
                let id = parse_key_id(params).map_err(refused)?;
                self.change(|state, now| invitation::revoke(state, &id, by, now))
            }
            other => Err(needs_gateway(other)),
        }
    }

    fn on_nodes(
        &self,
        method: &'static str,
        params: Option<Value>,
        by: &Caller<'_>,
    ) -> Result<Value, CliError> {
        match method {
            "node.describe" => {
                let asked = NodeDescribe::parse(params).map_err(refused)?;
                self.nodes(|roster, _| {
                    rendered(&roster.described(&asked.node_id).map_err(refused)?)
                })
            }
            "node.list" => {
                self.nodes(|roster, now| Ok(json!({"ts": now, "nodes": rendered(&roster.rows())?})))
            }
            "node.pair.approve" => {
                let asked = PairApprove::parse(method, params).map_err(refused)?;
                let (id, expected) = (asked.request_id.as_str(), asked.expected_digest.as_deref());
                self.change(|state, now| node::approve(state, id, expected, by, now, &mut Random))
                    .map(nothing_live)
            }
            "node.pair.list" => self.listed(node::list),
            "node.pair.prune" => {
                let asked = NodePairPrune::parse(params).map_err(refused)?;
                // Nobody is connected without a gateway.
                let connected = BTreeSet::new();
                let rule = Rule::of(&asked, &connected);
                match asked.dry_run {
                    true => self.read(|state, now| {
                        let nodes = prune::idle(state, &rule, now);
                        rendered(&Pruned { nodes })
                    }),
                    false => self
                        .change(|state, now| prune::prune(state, &rule, by, now))
                        .map(nothing_live),
                }
            }
            "node.pair.reject" => {
                let id = parse_request_id(method, params).map_err(refused)?;
                self.change(|state, now| node::reject(state, id.as_str(), by, now))
            }
            "node.pair.remove" => {
                let asked = NodePairRemove::parse(params).map_err(refused)?;
                self.change(|state, now| node::remove(state, &asked.node_id, by, now))
                    .map(nothing_live)
            }
            "node.rename" => {
                let asked = NodeRename::parse(params).map_err(refused)?;
                self.change(|state, _| node::rename(state, &asked.node_id, &asked.display_name, by))
            }
            other => Err(needs_gateway(other)),
        }
    }
}

impl Administration for Local {
    fn call(&mut self, method: &'static str, params: &Value) -> Result<Value, CliError> {
        let by = Caller {
            scopes: &self.authority,
            device_bound: None,
            own_device: None,
            label: "command line".to_owned(),
            via: "offline".to_owned(),
            from: None,
        };
        let params = Some(params.clone());
        if method.starts_with("device.keys.") {
            self.on_keys(method, params, &by)
        } else if method.starts_with("device.") {
            self.on_devices(method, params, &by)
        } else if method.starts_with("gateway.") {
            self.on_switch(method, params, &by)
        } else {
            self.on_nodes(method, params, &by)
        }
    }

    fn knows(&self, _: &str) -> bool {
        true
    }

    fn raise(&mut self, _: &Scopes) -> Result<(), CliError> {
        Ok(())
    }

    fn note(&self) -> Option<String> {
        Some(self.note.clone())
    }

    fn own_device(&self) -> Option<DeviceId> {
        let key = load_key(self.store.dir()).ok().flatten()?;
        Some(key.device_id())
    }

    /// Never called: without a session nobody is told a rotated token.
    fn keep_token(&self, _: Role, _: &Token, _: &Scopes) {}

    fn forget_token(&self) {
        let Some(device) = self.own_device() else {
            return;
        };
        let forgotten = DeviceAuth::load(self.store.dir(), &device)
            .and_then(|mut auth| auth.forget_role(Role::Operator.as_str()));
        if let Err(fault) = forgotten {
            log::warn!("cannot forget the device token: {fault}");
        }
    }
}

/// The same answer as a gateway gives, where nothing was connected.
fn nothing_live(mut answer: Value) -> Value {
    answer["sessionsEnded"] = json!(0);
    answer["invokesEnded"] = json!(0);
    answer["approvalsEnded"] = json!(0);
    answer
}

fn needs_gateway(method: &str) -> CliError {
    CliError::failed(
        "GATEWAY_UNREACHABLE",
        format!("{method} needs a running gateway"),
    )
}

fn rendered<T: Serialize>(answer: &T) -> Result<Value, CliError> {
    serde_json::to_value(answer).map_err(|fault| CliError::failed("UNAVAILABLE", fault.to_string()))
}

fn refused(error: ErrorShape) -> CliError {
    let mut failed = Failed::new(error.code.as_str(), error.message);
    if let Some(details) = error.details {
        failed.details = *details;
    }
    failed.into()
}

fn shown(path: &Path, paths: &Paths) -> String {
    paths.shorten(path)
}
