import CRUSH
import Wire

extension OSDMap {
    /// Which OSDs hold a placement group under one map.
    public struct Placement: Hashable, Sendable {
        /// What CRUSH chose, without those that are down; primary first.
        public var up: [OSDID]
        /// Who serves; the same as `up` unless the map says otherwise.
        public var acting: [OSDID]
        /// The first of the acting set orders the group's operations.
        public var primary: OSDID? { acting.first }

        public init(up: [OSDID], acting: [OSDID]) {
            self.up = up
            self.acting = acting
        }
    }
}
