//! The schemas of all messages in the form that the walk needs: the fields, the maximum number of their
//! elements and their size in memory.
//!
//! Layouts are built from the descriptors, so a message or field that is added to `proto/` is limited
//! without further code: a repeated field has at most [`MAX_OBJECTS`] elements, unless a table below
//! lists it as content of tensors or rows, which is limited by the size of the decoded message.

use crate::grpc::message::FILE_DESCRIPTOR_SET;
use crate::grpc::predict::MAX_ROWS;
use crate::v2::limits::{MAX_PARAMETERS, MAX_TENSORS};
use prost::{Message, Name};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::HashMap;
use std::sync::LazyLock;
use wisp_tensor::shape::MAX_RANK;

/// The wire types of numbers.
pub(super) const VARINT: u64 = 0;
pub(super) const FIXED64: u64 = 1;
pub(super) const FIXED32: u64 = 5;

/// The maximum number of repeated fields in one message.
pub(super) const MAX_COUNTED: usize = 16;

/// The maximum number of elements of a repeated field that is neither content nor a shape.
const MAX_OBJECTS: usize = MAX_TENSORS;

/// The number of the protocol's own parameters, allowed in addition to the client's.
const RESERVED_PARAMETERS: usize = 32;

/// The fields whose numbers or strings are the elements of tensors.
const CONTENT: [(&str, &str); 21] = [
    ("inference.InferTensorContents", "bool_contents"),
    ("inference.InferTensorContents", "int_contents"),
    ("inference.InferTensorContents", "int64_contents"),
    ("inference.InferTensorContents", "uint_contents"),
    ("inference.InferTensorContents", "uint64_contents"),
    ("inference.InferTensorContents", "fp32_contents"),
    ("inference.InferTensorContents", "fp64_contents"),
    ("inference.InferTensorContents", "bytes_contents"),
    ("tensorflow.TensorProto", "half_val"),
    ("tensorflow.TensorProto", "float_val"),
    ("tensorflow.TensorProto", "double_val"),
    ("tensorflow.TensorProto", "int_val"),
    ("tensorflow.TensorProto", "string_val"),
    ("tensorflow.TensorProto", "int64_val"),
    ("tensorflow.TensorProto", "bool_val"),
    ("tensorflow.TensorProto", "uint32_val"),
    ("tensorflow.TensorProto", "uint64_val"),
    ("tensorflow.BytesList", "value"),
    ("tensorflow.FloatList", "value"),
    ("tensorflow.Int64List", "value"),
    ("prediction.PredictRequest", "features"),
];

/// The fields whose messages are rows of tensors.
const ROWS: [(&str, &str); 2] = [
    ("tensorflow.serving.ExampleList", "examples"),
    ("tensorflow.serving.ExampleListWithContext", "examples"),
];

/// The rows of the predict API, which has its own limit on them.
const BATCH: (&str, &str) = ("prediction.BatchPredictRequest", "requests");

/// The fields whose elements are the axes of a shape.
const SHAPES: [(&str, &str); 2] = [
    ("inference.ModelInferRequest.InferInputTensor", "shape"),
    ("tensorflow.TensorShapeProto", "dim"),
];

/// The layouts of every message of every service. Lifetime: the process.
pub(super) static LAYOUTS: LazyLock<Layouts> = LazyLock::new(Layouts::new);

pub(super) struct Layouts {
    layouts: Vec<Layout>,
    /// The positions of top-level messages by package and name.
    by_name: HashMap<(&'static str, &'static str), usize>,
}

/// The layout of a message.
pub(super) struct Layout {
    /// The full name, with the package.
    full_name: &'static str,
    /// The fields, indexed by field number.
    fields: Vec<Option<Field>>,
    /// The size in memory in bytes, without the contents of lists, maps and strings.
    size: usize,
}

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The limit of a repeated field; `None` for a field that is stored at most once, however often it is
    /// sent.
    pub(super) counted: Option<Counted>,
    /// The size of an element within its list or map, in bytes.
    size: usize,
    is_map: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A number of this wire type.
    Number {
        wire: u64,
    },
    Text,
    /// A slice of the encoded message.
    Bytes,
    /// The message at this position of [`Layouts`]; for a map, its entry.
    Message(usize),
}

/// The counter and limit of a repeated field.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    /// The position among the repeated fields of the message.
    pub(super) slot: usize,
    pub(super) limit: ElementLimit,
}

/// The limit on the elements of a repeated field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementLimit {
    Elements(u32),
    /// Limited by the size of the decoded message; the elements belong to tensors.
    Content,
    /// Limited by the size of the decoded message; the elements are rows.
    Rows,
}

// === impl Layouts ===

impl Layouts {
    fn new() -> Layouts {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET);
        let set = set.expect("the descriptors were compiled in");
        let mut schema = Schema::default();
        for file in set.file {
            let package = leak(file.package().to_owned());
            for message in file.message_type {
                schema.add(package, None, message);
            }
        }
        let names: Vec<&'static str> = schema.messages.iter().map(|(name, _)| *name).collect();
        let mut layouts = Layouts {
            layouts: names.iter().map(|name| Layout::empty(name)).collect(),
            by_name: schema.by_name.clone(),
        };
        for position in 0..names.len() {
            layouts.fill(position, &schema, 0);
        }
        layouts
    }

    pub(super) fn of<M: Name>(&self) -> &Layout {
        let position = self.by_name.get(&(M::PACKAGE, M::NAME));
        self.at(*position.expect("every message was made from these descriptors"))
    }

    pub(super) fn at(&self, position: usize) -> &Layout {
        &self.layouts[position]
    }

    /// Fills in the layout at this position, after the layouts of its nested messages.
    fn fill(&mut self, position: usize, schema: &Schema, depth: usize) {
        if self.layouts[position].size > 0 {
            return;
        }
        assert!(
            depth < 16,
            "a message within itself, which the walk is not made for"
        );
        let (full_name, descriptor) = &schema.messages[position];
        let mut layout = Layout::empty(full_name);
        // The size of the largest member of each `oneof`.
        let mut choices = vec![0; descriptor.oneof_decl.len()];
        for field in &descriptor.field {
            let inner = schema.position(field);
            if let Some(inner) = inner {
                self.fill(inner, schema, depth + 1);
            }
            let size = match inner {
                Some(inner) => self.layouts[inner].size,
                None => size(field.r#type()),
            };
            let is_map = inner.is_some_and(|inner| schema.is_map_entry(inner));
            let is_repeated = field.label() == Label::Repeated;
            let within = match (is_repeated, inner) {
                (true, _) => size_of::<Vec<u8>>(),
                (false, Some(_)) => size + size_of::<usize>(),
                (false, None) => size,
            };
            match field
                .oneof_index
                .and_then(|index| usize::try_from(index).ok())
            {
                Some(index) => choices[index] = within.max(choices[index]),
                None => layout.size += within.next_multiple_of(size_of::<usize>()),
            }
            let slot = layout
                .fields
                .iter()
                .flatten()
                .filter(|field| field.counted.is_some())
                .count();
            assert!(
                slot < MAX_COUNTED,
                "{full_name} has more repeated fields than are counted"
            );
            let name = leak(field.name().to_owned());
            let number = usize::try_from(field.number()).expect("numbers of fields are positive");
            if layout.fields.len() <= number {
                layout.fields.resize_with(number + 1, || None);
            }
            layout.fields[number] = Some(Field {
                name,
                kind: kind(full_name, field.r#type(), inner),
                counted: is_repeated.then(|| Counted {
                    slot,
                    limit: element_limit(full_name, name, is_map),
                }),
                size,
                is_map,
            });
        }
        let choices = choices
            .into_iter()
            .map(|size: usize| size + size_of::<usize>());
        layout.size += choices
            .map(|size| size.next_multiple_of(size_of::<usize>()))
            .sum::<usize>();
        layout.size = layout.size.max(1);
        self.layouts[position] = layout;
    }
}

// === impl Layout ===

impl Layout {
    fn empty(full_name: &'static str) -> Layout {
        Layout {
            full_name,
            fields: Vec::new(),
            size: 0,
        }
    }

    pub(super) fn field(&self, number: usize) -> Option<&Field> {
        self.fields.get(number)?.as_ref()
    }

    /// Returns the name without the package, as error messages show it.
    pub(super) fn name(&self) -> &'static str {
        self.full_name.rsplit('.').next().unwrap_or(self.full_name)
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

// === impl Field ===

impl Field {
    /// Returns the size of an element within its list or map in bytes, and whether the field is a map.
    pub(super) fn element(&self) -> (usize, bool) {
        (self.size, self.is_map)
    }

    /// Returns whether the elements are copied into a tensor.
    pub(super) fn is_content(&self) -> bool {
        self.counted
            .is_some_and(|counted| counted.limit == ElementLimit::Content)
    }
}

/// The descriptors of all messages. Lifetime: the construction of the layouts.
#[derive(Default)]
struct Schema {
    /// The messages by position, with their full names.
    messages: Vec<(&'static str, DescriptorProto)>,
    positions: HashMap<&'static str, usize>,
    by_name: HashMap<(&'static str, &'static str), usize>,
}

impl Schema {
    fn add(&mut self, package: &'static str, within: Option<&str>, mut message: DescriptorProto) {
        let name = leak(message.name().to_owned());
        let full_name = leak(format!("{}.{name}", within.unwrap_or(package)));
        let nested = std::mem::take(&mut message.nested_type);
        self.positions.insert(full_name, self.messages.len());
        if within.is_none() {
            self.by_name.insert((package, name), self.messages.len());
        }
        self.messages.push((full_name, message));
        for message in nested {
            self.add(package, Some(full_name), message);
        }
    }

    /// Returns the position of the message type of a field.
    fn position(&self, field: &FieldDescriptorProto) -> Option<usize> {
        let name = field.type_name().strip_prefix('.')?;
        self.positions.get(name).copied()
    }

    fn is_map_entry(&self, position: usize) -> bool {
        let (_, message) = &self.messages[position];
        message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
    }
}

fn kind(message: &str, r#type: Type, inner: Option<usize>) -> Kind {
    match (r#type, inner) {
        (_, Some(inner)) => Kind::Message(inner),
        (Type::String, None) => Kind::Text,
        // prost's own types copy their bytes.
        (Type::Bytes, None) if message.starts_with("google.") => Kind::Text,
        (Type::Bytes, None) => Kind::Bytes,
        (Type::Double | Type::Fixed64 | Type::Sfixed64, None) => Kind::Number { wire: FIXED64 },
        (Type::Float | Type::Fixed32 | Type::Sfixed32, None) => Kind::Number { wire: FIXED32 },
        _ => Kind::Number { wire: VARINT },
    }
}

/// Returns the in-memory size of a value that is not a message, in prost's representation.
fn size(r#type: Type) -> usize {
    match r#type {
        Type::String => size_of::<String>(),
        Type::Bytes => size_of::<bytes::Bytes>(),
        Type::Bool => size_of::<bool>(),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => size_of::<u32>(),
        Type::Int32 | Type::Uint32 | Type::Sint32 | Type::Enum => size_of::<u32>(),
        _ => size_of::<u64>(),
    }
}

fn element_limit(message: &str, field: &str, is_map: bool) -> ElementLimit {
    let place = (message, field);
    if CONTENT.contains(&place) {
        return ElementLimit::Content;
    }
    if ROWS.contains(&place) {
        return ElementLimit::Rows;
    }
    let limit = match is_map && field == "parameters" {
        _ if SHAPES.contains(&place) => MAX_RANK,
        _ if place == BATCH => MAX_ROWS,
        true => MAX_PARAMETERS + RESERVED_PARAMETERS,
        false => MAX_OBJECTS,
    };
    ElementLimit::Elements(u32::try_from(limit).unwrap_or(u32::MAX))
}

/// Leaks a name: names live as long as the process, like the table that holds them.
fn leak(name: String) -> &'static str {
    name.leak()
}
