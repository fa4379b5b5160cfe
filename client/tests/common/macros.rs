//! What declares tests.

/// Declares tests of one body on sockets and on a network in memory, and on both runtimes:
/// `name::{udp,memory}_{current,multi}`; after `on current;` on that runtime alone.
#[macro_export]
macro_rules! contract {
    (on current; $(async fn $name:ident($world:ident: World) $body:block)*) => {$(
        #[allow(clippy::unwrap_used)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn body($world: $crate::common::World) $body
            $crate::contract_test! { udp_current, udp, false }
            $crate::contract_test! { memory_current, memory, false }
        }
    )*};
    ($(async fn $name:ident($world:ident: World) $body:block)*) => {$(
        #[allow(clippy::unwrap_used)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn body($world: $crate::common::World) $body
            $crate::contract_test! { udp_current, udp, false }
            $crate::contract_test! { udp_multi, udp, true }
            $crate::contract_test! { memory_current, memory, false }
            $crate::contract_test! { memory_multi, memory, true }
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_test {
    ($test:ident, $world:ident, $multi:literal) => {
        #[test]
        fn $test() {
            $crate::common::run($crate::common::World::$world(), $multi, body);
        }
    };
}
