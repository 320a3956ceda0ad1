//! `/cookies*`: the cookies of a profile's browser. Those of hosts that the policy refuses by their names or addresses
//! are neither told nor set; no name is looked up for that, so one that leads to such an address is not known.

use serde_json::{Map, Value, json};

use super::super::context::Context;
use super::super::error::BrowserError;
use super::super::guard::{self, Policy};

/// Members of a cookie that are passed on as they are.
const MEMBERS: [&str; 9] = [
    "name", "value", "url", "domain", "path", "expires", "httpOnly", "secure", "sameSite",
];

/// `GET /cookies`.
pub fn list(context: &Context<'_>) -> Result<Value, BrowserError> {
    let tab = context.tab()?;
    let answer = call(context, &tab, "Storage.getCookies", json!({}))?;
    let cookies = answer.get("cookies").and_then(Value::as_array);
    let policy = &context.settings.policy;
    let cookies = cookies.into_iter().flatten();
    let cookies = cookies.filter(|cookie| admit(policy, cookie).is_ok());
    let cookies: Vec<Value> = cookies.map(shown).collect();
    context.result(&tab, json!({"cookies": cookies}))
}

/// `POST /cookies/set`.
pub fn set(context: &Context<'_>) -> Result<Value, BrowserError> {
    let given = context
        .request
        .body
        .get("cookie")
        .and_then(Value::as_object);
    let given = given.ok_or_else(|| BrowserError::invalid("cookie is required"))?;
    let cookie = checked(given)?;
    admit(&context.settings.policy, &cookie)?;
    let tab = context.tab()?;
    call(
        context,
        &tab,
        "Storage.setCookies",
        json!({"cookies": [cookie]}),
    )?;
    Ok(json!({"ok": true, "targetId": tab.target.id}))
}

/// `POST /cookies/clear`.
pub fn clear(context: &Context<'_>) -> Result<Value, BrowserError> {
    let tab = context.tab()?;
    call(context, &tab, "Storage.clearCookies", json!({}))?;
    Ok(json!({"ok": true, "targetId": tab.target.id}))
}

fn call(
    context: &Context<'_>,
    tab: &super::super::context::Tab,
    method: &str,
    params: Value,
) -> Result<Value, BrowserError> {
    Ok(tab
        .browser
        .connection
        .call(None, method, params, context.deadline)?)
}

/// Judges the places that a cookie names.
fn admit(policy: &Policy, cookie: &Value) -> Result<(), BrowserError> {
    let text = |name: &str| {
        let text = cookie.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let mut hosts = Vec::new();
    if let Some(url) = text("url") {
        hosts.extend(guard::destination(url)?.map(|site| site.host));
    }
    if let Some(domain) = text("domain") {
        hosts.push(guard::domain_host(domain).ok_or(BrowserError::Blocked)?);
    }
    if hosts.iter().all(|host| policy.may_know(host)) {
        Ok(())
    } else {
        Err(BrowserError::Blocked)
    }
}

/// A cookie as the browser takes it.
fn checked(given: &Map<String, Value>) -> Result<Value, BrowserError> {
    let text = |name: &str| {
        given
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let value = given.get("value").and_then(Value::as_str);
    if text("name").is_none() || value.is_none() {
        return Err(BrowserError::invalid("cookie name and value are required"));
    }
    if text("url").is_none() && (text("domain").is_none() || text("path").is_none()) {
        return Err(BrowserError::invalid(
            "cookie requires url, or domain and path",
        ));
    }
    let members = given.iter().filter(|(name, value)| {
        // A session's cookie has no end.
        let endless = *name == "expires" && value.as_f64().is_none_or(|at| at < 0.0);
        MEMBERS.contains(&name.as_str()) && !value.is_null() && !endless
    });
    let members = members.map(|(name, value)| (name.clone(), value.clone()));
    Ok(Value::Object(members.collect()))
}

fn shown(cookie: &Value) -> Value {
    let member = |name: &str| cookie.get(name).cloned().unwrap_or_default();
    json!({
        "name": member("name"),
        "value": member("value"),
        "domain": member("domain"),
        "path": member("path"),
        "expires": member("expires"),
        "httpOnly": member("httpOnly"),
        "secure": member("secure"),
        "sameSite": cookie.get("sameSite").and_then(Value::as_str).unwrap_or("Lax"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_hosts_that_the_policy_refuses_are_nobodys() {
        let policy = Policy {
            hosts: vec!["10.0.0.1".to_owned()],
            ..Policy::default()
        };
        let admitted = |cookie: Value| admit(&policy, &cookie).is_ok();
        for (domain, expected) in [
            (".a.example", true),
            ("8.8.8.8", true),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("[::1]", false),
            ("[2001:4860::8888]", true),
            ("LOCALHOST.", false),
            (".a.localhost", false),
            ("0x7f.1", false),
            ("%6cocalhost", false),
            ("printer.local", false),
        ] {
            assert_eq!(admitted(json!({"domain": domain})), expected, "{domain}");
        }
        for (url, expected) in [
            ("http://a.example:9/x", true),
            ("http://127.0.0.1:9/x", false),
            ("http://%6cocalhost/", false),
        ] {
            assert_eq!(admitted(json!({"url": url})), expected, "{url}");
        }
        let both = json!({"url": "http://a.example/", "domain": "127.0.0.1"});
        assert!(!admitted(both));
    }

    #[test]
    fn a_cookie_needs_a_name_a_value_and_a_place() {
        let verdict =
            |cookie: Value| checked(cookie.as_object().unwrap()).map_err(|error| error.to_string());
        let url = json!({"name": "a", "value": "", "url": "http://h/", "expires": -1, "sameSite": null, "x": 1});
        assert_eq!(
            verdict(url),
            Ok(json!({"name": "a", "value": "", "url": "http://h/"}))
        );
        let place = json!({"name": "a", "value": "b", "domain": "h", "path": "/", "expires": 9, "secure": true});
        assert_eq!(verdict(place.clone()), Ok(place));
        let nowhere = json!({"name": "a", "value": "b", "domain": "h"});
        assert_eq!(
            verdict(nowhere),
            Err("cookie requires url, or domain and path".to_owned())
        );
        let nameless = json!({"name": "", "value": "b", "url": "u"});
        assert_eq!(
            verdict(nameless),
            Err("cookie name and value are required".to_owned())
        );
    }
}
