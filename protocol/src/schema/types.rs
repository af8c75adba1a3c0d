//! The types that postcard encodes: every one that can be reached from what is said on the wire.

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use postcard_schema::Schema;
use postcard_schema::schema::{DataModelType, DataModelVariant, NamedType, NamedValue};

use super::blocks::Block;
use crate::control::{Ask, Tell};
use crate::effect::Effect;
use crate::fixed::Fixed;
use crate::grant::{Grant, Route};
use crate::interchange::{
    ClockState, ConsoleState, ControlState, CpuidState, IrqchipState, MsrState, PowerState,
    SerialState, TimerState,
};
use crate::manifest::{Manifest, ServerSpec, Setup};
use crate::message::Message;
use crate::order::Order;

impl<T: Block> Schema for Fixed<T> {
    const SCHEMA: &'static NamedType = &NamedType {
        name: T::NAME,
        ty: &DataModelType::ByteArray,
    };
}

/// What is said as a whole; the other types are parts of these.
const SPOKEN: [&NamedType; 19] = [
    Message::SCHEMA,
    Effect::SCHEMA,
    Grant::SCHEMA,
    Route::SCHEMA,
    Manifest::SCHEMA,
    ServerSpec::SCHEMA,
    Setup::SCHEMA,
    Ask::SCHEMA,
    Tell::SCHEMA,
    Order::SCHEMA,
    CpuidState::SCHEMA,
    MsrState::SCHEMA,
    IrqchipState::SCHEMA,
    TimerState::SCHEMA,
    ClockState::SCHEMA,
    PowerState::SCHEMA,
    SerialState::SCHEMA,
    ConsoleState::SCHEMA,
    ControlState::SCHEMA,
];

/// One section per type, by name.
pub(super) fn text() -> String {
    let mut types = Types::default();
    for spoken in SPOKEN {
        types.name(spoken);
    }
    types
        .definitions
        .into_values()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Definitions by name.
#[derive(Default)]
struct Types {
    definitions: BTreeMap<&'static str, (&'static NamedType, String)>,
}

impl Types {
    /// How a type is named where it is used; notes its definition if it has one.
    fn name(&mut self, ty: &'static NamedType) -> String {
        match ty.ty {
            DataModelType::ByteArray => format!("Fixed<{}>", ty.name),
            DataModelType::Option(inner) => format!("Option<{}>", self.name(inner)),
            DataModelType::Seq(inner) => format!("[{}]", self.name(inner)),
            DataModelType::Tuple(parts) => format!("({})", self.names(parts)),
            DataModelType::NewtypeStruct(_)
            | DataModelType::TupleStruct(_)
            | DataModelType::Struct(_)
            | DataModelType::Enum(_) => {
                self.define(ty);
                ty.name.to_string()
            }
            _ => ty.name.to_string(),
        }
    }

    fn names(&mut self, types: &'static [&'static NamedType]) -> String {
        types
            .iter()
            .map(|ty| self.name(ty))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn define(&mut self, ty: &'static NamedType) {
        if let Some((known, _)) = self.definitions.get(ty.name) {
            assert!(*known == ty, "two types are called {}", ty.name);
            return;
        }
        self.definitions.insert(ty.name, (ty, String::new()));
        let text = match ty.ty {
            DataModelType::NewtypeStruct(inner) => {
                format!("struct {}({})\n", ty.name, self.name(inner))
            }
            DataModelType::TupleStruct(parts) => {
                format!("struct {}({})\n", ty.name, self.names(parts))
            }
            DataModelType::Struct(fields) => {
                format!("struct {}\n{}", ty.name, self.fields(fields).join(""))
            }
            DataModelType::Enum(variants) => {
                let mut text = format!("enum {}\n", ty.name);
                for (tag, variant) in variants.iter().enumerate() {
                    let content = match variant.ty {
                        DataModelVariant::UnitVariant => String::new(),
                        DataModelVariant::NewtypeVariant(inner) => {
                            format!("({})", self.name(inner))
                        }
                        DataModelVariant::TupleVariant(parts) => format!("({})", self.names(parts)),
                        DataModelVariant::StructVariant(fields) => {
                            format!(
                                " {{{} }}",
                                self.fields(fields)
                                    .join(",")
                                    .replace("   ", "")
                                    .replace('\n', "")
                            )
                        }
                    };
                    text += &format!("    {tag} {}{content}\n", variant.name);
                }
                text
            }
            _ => unreachable!("not a type with a definition"),
        };
        self.definitions.insert(ty.name, (ty, text));
    }

    fn fields(&mut self, fields: &'static [&'static NamedValue]) -> Vec<String> {
        fields
            .iter()
            .map(|field| format!("    {}: {}\n", field.name, self.name(field.ty)))
            .collect()
    }
}
