//! What declares tests.

/// Declares tests with a paused clock, `name::memory_paused`: see [`run_paused`].
///
/// A [`Peer`] that waits for an answer lets [`HANG`] pass at most, so wait for longer times with
/// `tokio::time::sleep`.
#[macro_export]
macro_rules! paused {
    ($($(#[doc = $doc:literal])* async fn $name:ident($world:ident: World) $body:block)*) => {$(
        #[allow(clippy::unwrap_used)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn body($world: $crate::common::World) $body
            #[test]
            fn memory_paused() {
                $crate::common::run_paused(body);
            }
        }
    )*};
}

/// Declares tests: see the module's documentation.
#[macro_export]
macro_rules! contract {
    ($(on $($kind:ident),+;)? $(#[doc = $doc:literal])* async fn $name:ident($world:ident: World) $body:block $($rest:tt)*) => {
        $crate::contract_test! { [$($($kind),+)?] $name $world $body }
        $crate::contract! { $($rest)* }
    };
    () => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_test {
    ([] $name:ident $world:ident $body:block) => {
        $crate::contract_test! { [memory, udp, plain] $name $world $body }
    };
    ([$($kind:ident),+] $name:ident $world:ident $body:block) => {
        #[allow(clippy::unwrap_used)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn body($world: $crate::common::World) $body
            $( $crate::contract_runs! { $kind } )+
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_runs {
    (memory) => {
        #[test]
        fn memory_current() {
            $crate::common::run(
                $crate::common::Kind::Memory,
                $crate::common::Rt::Current,
                body,
            );
        }
        #[test]
        fn memory_multi() {
            $crate::common::run(
                $crate::common::Kind::Memory,
                $crate::common::Rt::Multi,
                body,
            );
        }
    };
    (udp) => {
        #[cfg(target_os = "linux")]
        #[test]
        fn udp_current() {
            $crate::common::run($crate::common::Kind::Udp, $crate::common::Rt::Current, body);
        }
        #[cfg(target_os = "linux")]
        #[test]
        fn udp_multi() {
            $crate::common::run($crate::common::Kind::Udp, $crate::common::Rt::Multi, body);
        }
    };
    (plain) => {
        #[test]
        fn plain_current() {
            $crate::common::run(
                $crate::common::Kind::Plain,
                $crate::common::Rt::Current,
                body,
            );
        }
        #[test]
        fn plain_multi() {
            $crate::common::run($crate::common::Kind::Plain, $crate::common::Rt::Multi, body);
        }
    };
}
