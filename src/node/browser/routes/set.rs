//! `/set/*` and `/permissions/grant`: what a page is told about the world around it.

use serde_json::{Map, Value, json};

use super::super::cdp::CdpError;
use super::super::context::{Context, Tab};
use super::super::error::BrowserError;

/// How exact a place is that does not say so, in metres.
const ACCURACY: f64 = 0.0;

/// `POST /set/offline`.
pub fn offline(context: &Context<'_>) -> Result<Value, BrowserError> {
    let offline = context.request.body.get("offline").and_then(Value::as_bool);
    let offline = offline.ok_or_else(|| BrowserError::invalid("offline is required"))?;
    let params =
        json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    set(context, "Network.emulateNetworkConditions", params)
}

/// `POST /set/headers`.
pub fn headers(context: &Context<'_>) -> Result<Value, BrowserError> {
    let given = context
        .request
        .body
        .get("headers")
        .and_then(Value::as_object);
    let given = given.ok_or_else(|| BrowserError::invalid("headers is required"))?;
    let params = json!({"headers": header_texts(given)});
    set(context, "Network.setExtraHTTPHeaders", params)
}

/// `POST /set/geolocation`: the page's origin, or the one that is named, may ask for it then.
pub fn geolocation(context: &Context<'_>) -> Result<Value, BrowserError> {
    let request = context.request;
    let place = if request.flag("clear") {
        None
    } else {
        Some(place(&request.body)?)
    };
    let tab = context.any_tab()?;
    let (method, setting) = match place {
        Some(_) => ("Emulation.setGeolocationOverride", "granted"),
        None => ("Emulation.clearGeolocationOverride", "prompt"),
    };
    tab.page
        .call(method, place.unwrap_or_else(|| json!({})), context.deadline)?;
    let named = request.body("origin").map(str::to_owned);
    let Some(origin) = named.or_else(|| tab.page.origin()) else {
        // A page without an origin of its own has no permissions.
        return Ok(json!({"ok": true, "targetId": tab.target.id}));
    };
    let params =
        json!({"permission": {"name": "geolocation"}, "setting": setting, "origin": origin});
    let connection = &tab.browser.connection;
    match connection.call(None, "Browser.setPermission", params, context.deadline) {
        Ok(_) | Err(CdpError::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(json!({"ok": true, "targetId": tab.target.id}))
}

/// `POST /set/media`.
pub fn media(context: &Context<'_>) -> Result<Value, BrowserError> {
    let scheme = match context.request.body("colorScheme") {
        Some(scheme @ ("dark" | "light" | "no-preference")) => scheme,
        Some("none") => "",
        _ => {
            let text = "colorScheme must be dark|light|no-preference|none";
            return Err(BrowserError::invalid(text));
        }
    };
    let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
    set(
        context,
        "Emulation.setEmulatedMedia",
        json!({"features": features}),
    )
}

/// `POST /set/timezone`.
pub fn timezone(context: &Context<'_>) -> Result<Value, BrowserError> {
    let zone = context.request.body("timezoneId");
    let zone = zone.ok_or_else(|| BrowserError::invalid("timezoneId is required"))?;
    let tab = context.any_tab()?;
    // The browser itself takes whatever takes the place of another one.
    let known = format!(
        "(zone => {{ try {{ return !!new Intl.DateTimeFormat('en', {{ timeZone: zone }}) }} catch {{ return false }} }})({})",
        json!(zone)
    );
    if tab.page.evaluate(&known, context.deadline)? != true {
        return Err(BrowserError::Unexpected(format!(
            "Invalid timezone ID: {zone}"
        )));
    }
    tell(
        context,
        &tab,
        "Emulation.setTimezoneOverride",
        json!({"timezoneId": zone}),
    )
}

/// `POST /set/locale`.
pub fn locale(context: &Context<'_>) -> Result<Value, BrowserError> {
    let locale = context.request.body("locale");
    let locale = locale.ok_or_else(|| BrowserError::invalid("locale is required"))?;
    set(
        context,
        "Emulation.setLocaleOverride",
        json!({"locale": locale}),
    )
}

/// `POST /set/device`: there are no device presets.
pub fn device(context: &Context<'_>) -> Result<Value, BrowserError> {
    match context.request.body("name") {
        None => Err(BrowserError::invalid("name is required")),
        Some(_) => Err(BrowserError::UnsupportedRoute(context.request.path.clone())),
    }
}

/// `POST /permissions/grant`.
pub fn grant(context: &Context<'_>) -> Result<Value, BrowserError> {
    let origin = context.request.body("origin");
    let origin = origin.ok_or_else(|| BrowserError::invalid("origin is required"))?;
    let names = |member: &str| {
        let names = context.request.body.get(member).and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect::<Vec<String>>()
    };
    let mut granted = names("permissions");
    if granted.is_empty() {
        return Err(BrowserError::invalid("permissions are required"));
    }
    let connection = &context.browser()?.connection;
    let give = |permissions: &[String]| {
        let params = json!({"origin": origin, "permissions": permissions});
        connection.call(None, "Browser.grantPermissions", params, context.deadline)
    };
    give(&granted)?;
    let mut unsupported = Vec::new();
    for name in names("optionalPermissions") {
        // A grant takes the place of the one before.
        granted.push(name.clone());
        match give(&granted) {
            Ok(_) => {}
            Err(CdpError::Refused(_)) => {
                granted.pop();
                unsupported.push(name);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(
        json!({"ok": true, "origin": origin, "grantedPermissions": granted, "unsupportedPermissions": unsupported}),
    )
}

/// Tells the page of the request's tab.
fn set(context: &Context<'_>, method: &str, params: Value) -> Result<Value, BrowserError> {
    tell(context, &context.any_tab()?, method, params)
}

fn tell(
    context: &Context<'_>,
    tab: &Tab,
    method: &str,
    params: Value,
) -> Result<Value, BrowserError> {
    tab.page.call(method, params, context.deadline)?;
    Ok(json!({"ok": true, "targetId": tab.target.id}))
}

/// Headers as texts; what is none is left out.
fn header_texts(given: &Map<String, Value>) -> Map<String, Value> {
    let texts = given.iter().filter_map(|(name, value)| match value {
        Value::String(_) => Some((name.clone(), value.clone())),
        Value::Number(_) | Value::Bool(_) => Some((name.clone(), value.to_string().into())),
        _ => None,
    });
    texts.collect()
}

fn place(body: &Map<String, Value>) -> Result<Value, BrowserError> {
    let number = |name: &str| body.get(name).and_then(Value::as_f64);
    let within = |name: &str, bound: f64| number(name).filter(|value| value.abs() <= bound);
    let both = within("latitude", 90.0).zip(within("longitude", 180.0));
    let (latitude, longitude) = both.ok_or_else(|| {
        BrowserError::invalid("latitude and longitude are required (or set clear=true)")
    })?;
    let accuracy = number("accuracy").filter(|accuracy| *accuracy >= 0.0);
    Ok(
        json!({"latitude": latitude, "longitude": longitude, "accuracy": accuracy.unwrap_or(ACCURACY)}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_on_earth() {
        let verdict =
            |body: Value| place(body.as_object().unwrap()).map_err(|error| error.to_string());
        assert_eq!(
            verdict(json!({"latitude": 52.5, "longitude": 13.4})),
            Ok(json!({"latitude": 52.5, "longitude": 13.4, "accuracy": 0.0}))
        );
        let required = Err("latitude and longitude are required (or set clear=true)".to_owned());
        for body in [
            json!({}),
            json!({"latitude": 1}),
            json!({"latitude": 91, "longitude": 1}),
            json!({"latitude": 1, "longitude": "x"}),
        ] {
            assert_eq!(verdict(body), required);
        }
    }

    #[test]
    fn headers_are_texts() {
        let given = json!({"a": "x", "b": 1, "c": true, "d": null, "e": []});
        let expected = json!({"a": "x", "b": "1", "c": "true"});
        assert_eq!(
            Value::Object(header_texts(given.as_object().unwrap())),
            expected
        );
    }
}
