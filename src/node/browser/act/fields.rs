//! Fields of forms: texts, boxes and lists.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::elements::Handle;
use super::super::error::BrowserError;
use super::action::{Content, Field, Named, Press};
use super::input::Input;
use super::reach::{Finder, Need};

/// Readies an element for a text, or takes the text itself where typing is not how it is filled.
const READY: &str = r"function (text) {
  let element = this.nodeType === 1 ? this : this.parentElement;
  if (element.localName === 'label' && element.control) element = element.control;
  const view = element.ownerDocument.defaultView;
  if (element.readOnly) return 'readonly';
  if (element instanceof view.HTMLInputElement) {
    if (['button', 'checkbox', 'file', 'hidden', 'image', 'radio', 'reset', 'submit'].includes(element.type))
      return 'unfit';
    if (['color', 'date', 'datetime-local', 'month', 'range', 'time', 'week'].includes(element.type)) {
      element.focus();
      element.value = text;
      if (element.value !== text) return 'malformed';
      element.dispatchEvent(new view.Event('input', { bubbles: true, composed: true }));
      element.dispatchEvent(new view.Event('change', { bubbles: true }));
      return 'done';
    }
    element.focus();
    element.select();
    return 'ready';
  }
  if (element instanceof view.HTMLTextAreaElement) {
    element.focus();
    element.select();
    return 'ready';
  }
  if (!element.isContentEditable) return 'unfit';
  element.focus();
  element.ownerDocument.getSelection().selectAllChildren(element);
  return 'ready';
}";

/// Whether a box is ticked; null for what is none.
const TICKED: &str = r"function () {
  let element = this.nodeType === 1 ? this : this.parentElement;
  if (element.localName === 'label' && element.control) element = element.control;
  if (element.type === 'checkbox' || element.type === 'radio') return element.checked;
  const role = element.getAttribute('role');
  const known = ['checkbox', 'menuitemcheckbox', 'menuitemradio', 'radio', 'switch'].includes(role);
  return known ? element.getAttribute('aria-checked') === 'true' : null;
}";

/// Chooses the options that are named, all or none.
const CHOOSE: &str = r"function (values) {
  let list = this.nodeType === 1 ? this : this.parentElement;
  if (list.localName === 'label' && list.control) list = list.control;
  const view = list.ownerDocument.defaultView;
  if (!(list instanceof view.HTMLSelectElement)) return 'unfit';
  const options = [...list.options];
  const wanted = list.multiple ? values : values.slice(0, 1);
  const found = wanted.map(value => options.find(option => !option.disabled && option.value === value)
    || options.find(option => !option.disabled && (option.label === value || option.text.trim() === value.trim())));
  if (found.includes(undefined)) return 'missing';
  list.focus();
  for (const option of options) option.selected = found.includes(option);
  list.dispatchEvent(new view.Event('input', { bubbles: true, composed: true }));
  list.dispatchEvent(new view.Event('change', { bubbles: true }));
  return 'done';
}";

/// Fills the fields of an action.
pub struct Form<'a> {
    /// Finds them.
    pub finder: &'a Finder<'a>,
    /// Writes into them.
    pub input: Input<'a>,
}

impl Form<'_> {
    /// Fills one field.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] for an element that does not take this.
    pub fn fill(&self, field: &Field) -> Result<(), BrowserError> {
        match &field.content {
            Content::Checked(on) => self.tick(&field.element, *on),
            Content::Text(text) => self.replace(&field.element, text).map(drop),
        }
    }

    /// Makes a text the content of an element and gives the element.
    ///
    /// # Errors
    /// As [`Form::fill`].
    pub fn replace(&self, named: &Named, text: &str) -> Result<Handle, BrowserError> {
        let handle = self.finder.reach(named, Need::Enabled)?.handle;
        let name = named.text();
        let ready = self.finder.call(&handle, READY, &[text.into()])?;
        let told = |text: &str| {
            Err(BrowserError::Unexpected(format!(
                "Element \"{name}\" {text}"
            )))
        };
        match ready.as_ref().and_then(Value::as_str) {
            Some("done") => {}
            Some("ready") => {
                let frame = handle.frame.as_deref();
                if text.is_empty() {
                    self.input.press(frame, "Delete", Duration::ZERO)?;
                } else {
                    self.input.insert(frame, text)?;
                }
            }
            Some("malformed") => return told("does not take this value: malformed."),
            Some("readonly") => return told("is read-only."),
            _ => return told("takes no text: it is no text field and not editable."),
        }
        Ok(handle)
    }

    /// Chooses options of a list, as soon as it has them.
    ///
    /// # Errors
    /// As [`Form::fill`].
    pub fn choose(&self, named: &Named, values: &[String]) -> Result<(), BrowserError> {
        let name = named.text();
        let handle = self.finder.reach(named, Need::Enabled)?.handle;
        let missing = super::super::elements::not_found(name);
        let chosen = self.finder.wait(name, || {
            let state = self.finder.call(&handle, CHOOSE, &[json!(values)])?;
            match state.as_ref().and_then(Value::as_str) {
                Some("done") => Ok(Some(())),
                Some("unfit") => Err(BrowserError::Unexpected(format!(
                    "Element \"{name}\" is no <select>."
                ))),
                _ => Ok(None),
            }
        });
        chosen.map_err(|error| {
            if error == missing {
                let values = values.join("\", \"");
                BrowserError::Unexpected(format!("Element \"{name}\" has no option \"{values}\"."))
            } else {
                error
            }
        })
    }

    /// Ticks a box, or takes its tick away.
    fn tick(&self, named: &Named, on: bool) -> Result<(), BrowserError> {
        let name = named.text();
        let is_on = |handle: &Handle| -> Result<Option<bool>, BrowserError> {
            let state = self.finder.call(handle, TICKED, &[])?;
            Ok(state.as_ref().and_then(Value::as_bool))
        };
        let reached = self.finder.reach(named, Need::Enabled)?;
        match is_on(&reached.handle)? {
            None => {
                let text = format!("Element \"{name}\" is no checkbox and no radio button.");
                return Err(BrowserError::Unexpected(text));
            }
            Some(state) if state == on => return Ok(()),
            Some(_) => {}
        }
        let reached = self.finder.reach(named, Need::Hit)?;
        self.input.click(reached.at, &Press::plain())?;
        if is_on(&reached.handle)?.is_some_and(|state| state != on) {
            let text = format!("Element \"{name}\" did not change when it was clicked.");
            return Err(BrowserError::Unexpected(text));
        }
        Ok(())
    }
}
