//! Properties of a gRPC method that follow from its path alone.

/// The methods that take a stream of messages, in every version of their service.
const STREAMS: [&str; 2] = ["/ModelStreamInfer", "/ServerReflectionInfo"];

/// Returns whether the method takes any number of messages. All other methods take one.
pub(super) fn is_stream(path: &str) -> bool {
    STREAMS.iter().any(|method| path.ends_with(method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use wisp_protocol::grpc::FILE_DESCRIPTOR_SET;

    #[test]
    fn every_method_that_takes_a_stream_is_one() -> anyhow::Result<()> {
        let sets = [
            FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut streams = 0;
        for set in sets {
            let set = prost_types::FileDescriptorSet::decode(set)?;
            for file in &set.file {
                for service in &file.service {
                    for method in &service.method {
                        let path =
                            format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        assert_eq!(is_stream(&path), method.client_streaming(), "{path}");
                        streams += usize::from(method.client_streaming());
                    }
                }
            }
        }
        assert_eq!(streams, 3);
        Ok(())
    }
}
