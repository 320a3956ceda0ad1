//! Doing things on a page as a person does them: `/act` (node-host specification, section 4.6).
//!
//! [`action`] says what there is to do, `reading` reads and judges what is asked for and knows no page; [`perform`] does
//! it, [`reach`] says where an element can be clicked, [`input`] and [`keys`] are the mouse and the keyboard.

pub mod action;
mod conditions;
mod drag;
mod fields;
pub mod input;
mod keys;
pub mod perform;
mod reach;
mod reading;
