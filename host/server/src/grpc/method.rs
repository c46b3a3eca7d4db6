//! The kinds of the gRPC methods, by their paths.

use crate::operation::Operation;

/// The kind of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodKind {
    /// One message, whose model is called.
    Inference,
    /// Any number of such messages.
    InferenceStream,
    /// One message that asks about the server or its models, or changes which of them are served.
    Control,
    /// Any number of messages that ask about the server.
    ControlStream,
}

impl MethodKind {
    /// Returns the kind of the method at `path`.
    pub(super) fn from_path(path: &str) -> MethodKind {
        match Operation::of_method(path) {
            Some(Operation::Infer) => MethodKind::Inference,
            Some(Operation::InferStream) => MethodKind::InferenceStream,
            Some(Operation::Reflection) => MethodKind::ControlStream,
            Some(_) | None => MethodKind::Control,
        }
    }

    /// Returns whether the method takes any number of messages. All other methods take one.
    pub(super) fn is_stream(self) -> bool {
        match self {
            MethodKind::Inference | MethodKind::Control => false,
            MethodKind::InferenceStream | MethodKind::ControlStream => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::{FileDescriptorProto, FileDescriptorSet};
    use wisp_protocol::grpc::FILE_DESCRIPTOR_SET;

    /// Returns whether messages of this type contain the inputs of a model, themselves or in another message.
    fn has_inputs(files: &[FileDescriptorProto], name: &str) -> bool {
        const INPUTS: [&str; 3] = ["input", "inputs", "features"];
        let found = files.iter().find_map(|file| {
            let package = format!(".{}.", file.package());
            let name = name.strip_prefix(&package)?;
            let mut names = name.split('.');
            let first = names.next()?;
            let top = file.message_type.iter().find(|m| m.name() == first)?;
            names.try_fold(top, |message, name| {
                message.nested_type.iter().find(|m| m.name() == name)
            })
        });
        found.is_some_and(|message| {
            message.field.iter().any(|field| {
                let of = field.type_name();
                INPUTS.contains(&field.name())
                    || (!of.is_empty() && of != name && has_inputs(files, of))
            })
        })
    }

    #[test]
    fn the_kind_of_every_method_follows_from_its_descriptor() -> anyhow::Result<()> {
        let mut files = Vec::new();
        for set in [
            FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            files.extend(FileDescriptorSet::decode(set)?.file);
        }
        let audited = include_str!("../../../../tests/fixtures/tenants/routes.txt");
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let kind = match (
                        has_inputs(&files, method.input_type()),
                        method.client_streaming(),
                    ) {
                        (true, false) => MethodKind::Inference,
                        (true, true) => MethodKind::InferenceStream,
                        (false, false) => MethodKind::Control,
                        (false, true) => MethodKind::ControlStream,
                    };
                    assert_eq!(MethodKind::from_path(&path), kind, "{path}");
                    let is_audited = audited.lines().any(|line| line.ends_with(&path));
                    assert!(is_audited, "{path} is not in the audit of keys");
                }
            }
        }
        Ok(())
    }
}
