//! Administration through a running gateway.

use serde_json::Value;

use crate::cli::administration::Administration;
use crate::cli::administration::local::Local;
use crate::cli::error::CliError;
use crate::cli::reach::{Reach, with};
use crate::client::Session;
use crate::config::{Loaded, Paths};
use crate::identity::{DeviceId, Token};
use crate::protocol::scope::{Role, Scopes};

/// A session of an operator, renewed with more scopes when a call needs them.
pub struct Remote {
    reach: Reach,
    session: Session,
    scopes: Scopes,
    files: Option<(Paths, Loaded)>,
    substitute: Option<Local>,
}

impl Remote {
    /// Connects with these scopes.
    ///
    /// # Errors
    /// [`CliError::Client`].
    pub fn connect(reach: Reach, scopes: Scopes) -> Result<Remote, CliError> {
        let session = reach.connect(&scopes)?;
        Ok(Remote {
            reach,
            session,
            scopes,
            files: None,
            substitute: None,
        })
    }

    /// The same, going on with the files of this machine where the gateway answers `missing scope`.
    pub fn with_files(mut self, paths: &Paths, loaded: &Loaded) -> Remote {
        self.files = Some((paths.clone(), loaded.clone()));
        self
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        let answer = self.session.request(method, params, self.reach.budget());
        answer.map_err(|error| self.reach.failure(error))
    }

    /// Calls once more with the scope the gateway named; a scope it was already asked for is not asked again.
    fn ask_with_scope(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        let error = match self.ask(method, params) {
            Err(error) => error,
            answer => return answer,
        };
        let Some(scope) = error.missing_scope() else {
            return Err(error);
        };
        if self.scopes.contains(&scope) {
            return Err(error);
        }
        let wider = with(&self.scopes, &scope);
        match self.reach.connect(&wider) {
            Ok(session) => {
                (self.session, self.scopes) = (session, wider);
                self.ask(method, params)
            }
            // What was missing is the answer to the command; that it could not be had either is not.
            Err(_) => Err(error),
        }
    }
}

impl Administration for Remote {
    fn call(&mut self, method: &'static str, params: &Value) -> Result<Value, CliError> {
        if let Some(local) = &mut self.substitute {
            return local.call(method, params);
        }
        let error = match self.ask_with_scope(method, params) {
            Err(error) if error.missing_scope().is_some() => error,
            answer => return answer,
        };
        let Some((paths, loaded)) = &self.files else {
            return Err(error);
        };
        let mut local = Local::beside(paths, loaded)?;
        let answer = local.call(method, params);
        self.substitute = Some(local);
        answer
    }

    fn raise(&mut self, scopes: &Scopes) -> Result<(), CliError> {
        if self.substitute.is_some() || self.scopes.missing(scopes).is_none() {
            return Ok(());
        }
        let wider = scopes
            .iter()
            .fold(self.scopes.clone(), |wider, scope| with(&wider, scope));
        self.session = self.reach.connect(&wider)?;
        self.scopes = wider;
        Ok(())
    }

    fn knows(&self, method: &str) -> bool {
        let listed = &self.session.hello().methods;
        self.substitute.is_some() || listed.iter().any(|name| name == method)
    }

    fn note(&self) -> Option<String> {
        self.substitute.as_ref().and_then(Administration::note)
    }

    fn own_device(&self) -> Option<DeviceId> {
        Some(self.reach.own_device())
    }

    fn keep_token(&self, role: Role, token: &Token, scopes: &Scopes) {
        self.reach.keep_token(role, token, scopes);
    }

    fn forget_token(&self) {
        self.reach.forget_token();
    }
}
