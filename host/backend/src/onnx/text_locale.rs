//! The locale in which ONNX Runtime changes the case of letters.
//!
//! Its default, `en_US.UTF-8`, is not installed on most servers, and a model that needs it does not load.
//! `C.UTF-8` is part of every current glibc and maps the same letters. Only Turkic languages, which have two
//! letters i, need their own locale.

use super::node_parts::inner_graphs_mut;
use crate::pb::attribute_proto::AttributeType;
use crate::pb::{AttributeProto, GraphProto, ModelProto};

const LOCALE: &str = "C.UTF-8";

/// The languages whose locales are kept.
const TURKIC: [&str; 4] = ["tr", "az", "crh", "tt"];

/// Sets the locale of every `StringNormalizer`, and returns whether the model has changed.
pub(crate) fn set_locale(model: &mut ModelProto) -> bool {
    let mut has_changed = false;
    if let Some(graph) = &mut model.graph {
        set_in_graph(graph, &mut has_changed);
    }
    has_changed
}

fn set_in_graph(graph: &mut GraphProto, has_changed: &mut bool) {
    for node in &mut graph.node {
        if node.op_type == "StringNormalizer" {
            *has_changed |= set_in_attributes(&mut node.attribute);
        }
        for inner in inner_graphs_mut(node) {
            set_in_graph(inner, has_changed);
        }
    }
}

fn set_in_attributes(attributes: &mut Vec<AttributeProto>) -> bool {
    let position = attributes
        .iter()
        .position(|attribute| attribute.name == "locale");
    if let Some(position) = position {
        let locale = attributes[position].s.as_slice();
        let is_turkic = |language: &str| {
            let rest = locale.strip_prefix(language.as_bytes());
            rest.is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphabetic))
        };
        if locale == LOCALE.as_bytes() || TURKIC.into_iter().any(is_turkic) {
            return false;
        }
        attributes.remove(position);
    }
    attributes.push(AttributeProto {
        name: "locale".to_owned(),
        r#type: AttributeType::String as i32,
        s: LOCALE.as_bytes().to_vec(),
        ..Default::default()
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::NodeProto;

    fn locale_of(locale: Option<&str>) -> (bool, String) {
        let attribute = locale.map(|locale| AttributeProto {
            name: "locale".to_owned(),
            s: locale.as_bytes().to_vec(),
            ..Default::default()
        });
        let node = NodeProto {
            op_type: "StringNormalizer".to_owned(),
            attribute: attribute.into_iter().collect(),
            ..Default::default()
        };
        let mut model = ModelProto {
            graph: Some(GraphProto {
                node: vec![node],
                ..Default::default()
            }),
            ..Default::default()
        };
        let has_changed = set_locale(&mut model);
        let nodes = model.graph.unwrap_or_default().node;
        let attributes = nodes.iter().flat_map(|node| &node.attribute);
        let text = |attribute: &AttributeProto| String::from_utf8_lossy(&attribute.s).into_owned();
        (has_changed, attributes.map(text).collect())
    }

    #[test]
    fn locales_that_may_be_missing_are_replaced_except_turkic_ones() {
        for (locale, expected) in [
            (None, (true, LOCALE)),
            (Some("en_US.UTF-8"), (true, LOCALE)),
            (Some("tt"), (false, "tt")),
            (Some("tr_TR.UTF-8"), (false, "tr_TR.UTF-8")),
            (Some("try"), (true, LOCALE)),
            (Some(LOCALE), (false, LOCALE)),
        ] {
            let (has_changed, found) = locale_of(locale);
            assert_eq!((has_changed, found.as_str()), expected, "{locale:?}");
        }
    }
}
