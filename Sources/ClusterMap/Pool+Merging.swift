import Wire

/// Fewer groups: how a pool comes to a smaller `pg_num`.
///
/// The groups that go are first put where those are that will take them up (`pgp_num`). When all are clean there, some of them
/// and their takers are made quiet: they write nothing (`pg_num_pending`). When the primaries of all of those have said at which
/// versions they stand on every member, the groups are merged with one epoch, and each OSD joins the copies that it has.
extension Pool {
    /// A smaller `pg_num` that is wanted.
    public struct Lowering: Hashable, Sendable {
        /// What `pg_num` is to be in the end.
        public var target: UInt32
        /// What it is to be next: the groups from this number on, and those that will take them up, are quiet. Nil while all
        /// groups serve.
        public var pending: UInt32?

        /// A lowering that has not begun.
        public init(target: UInt32) { self.target = target }
    }

    /// The newest merge: what OSDs need to know when they join copies, also years later.
    public struct Merge: Hashable, Sendable {
        /// The epoch that brings it.
        public var epoch: Epoch
        /// Where the groups stood that were merged, by their numbers: the newest version of each. Only a copy that ends there
        /// is whole.
        public var versions: [UInt32: Version]

        /// A merge with these values.
        public init(epoch: Epoch, versions: [UInt32: Version]) {
            self.epoch = epoch
            self.versions = versions
        }

        /// The version of what comes out of a merge of these groups: newer than all that any of them had, and the same for
        /// everyone.
        public func joined(_ seeds: some Sequence<UInt32>) -> Version {
            Version(epoch: epoch, counter: seeds.reduce(0) { max($0, versions[$1]?.counter ?? 0) })
        }
    }

    /// Begins the way to another `pg_num`: more groups are there at once, fewer in the end.
    public mutating func setGroupCount(_ count: UInt32) {
        guard count < groupCount else {
            groupCount = count
            lowering = nil
            return
        }
        var next = Lowering(target: count)
        if let pending = lowering?.pending, pending >= count { next.pending = pending }
        lowering = next
        placementGroupCount = min(placementGroupCount, count)
    }

    /// `pgp_num` as it should be when all groups are clean where they are.
    public var wantedPlacementGroupCount: UInt32 { lowering?.target ?? groupCount }

    /// True while the group writes nothing because it is about to be merged.
    public func isQuiet(_ seed: UInt32) -> Bool {
        guard let pending = lowering?.pending else { return false }
        return Self.isMerged(seed, from: groupCount, to: pending)
    }

    /// True when the group ends, or takes up others, on the way to the `pg_num` that is wanted: it has no place of its own.
    public func isToBeMerged(_ seed: UInt32) -> Bool {
        lowering.map { Self.isMerged(seed, from: groupCount, to: $0.target) } ?? false
    }

    /// True when a group of `count` ends, or takes up others, with a smaller count.
    public static func isMerged(_ seed: UInt32, from count: UInt32, to smaller: UInt32) -> Bool {
        guard smaller < count, seed < count else { return false }
        return seed >= smaller || seed + 1 << UInt32(bits(ofGroup: seed, of: smaller)) < count
    }

    // MARK: Encoding

    mutating func readLowering(_ reader: inout ByteReader, _ version: UInt8) throws(WireError) {
        lowering = try reader.readOptional { r throws(WireError) in
            var lowering = Lowering(target: try r.readU32())
            lowering.pending = try r.readOptional { r throws(WireError) in try r.readU32() }
            return lowering
        }
        merge = try reader.readOptional { r throws(WireError) in
            let epoch = Epoch(try r.readU32())
            if version == 4 { _ = try r.readU32() }
            let entries = try r.readArray(atMost: Int(MapLimits.groupsPerPool)) { r throws(WireError) in
                (try r.readU32(), try Version(from: &r))
            }
            return Merge(epoch: epoch, versions: Dictionary(entries, uniquingKeysWith: { $1 }))
        }
        if let lowering {
            guard (1..<groupCount).contains(lowering.target),
                (lowering.target..<groupCount).contains(lowering.pending ?? lowering.target)
            else { throw WireError("pool \(id): the pg_num that is wanted is out of range") }
        }
    }

    func encodeLowering(into writer: inout ByteWriter) {
        writer.writeOptional(lowering) { w, lowering in
            w.writeU32(lowering.target)
            w.writeOptional(lowering.pending) { $0.writeU32($1) }
        }
        writer.writeOptional(merge) { w, merge in
            w.writeU32(merge.epoch.rawValue)
            w.writeArray(merge.versions.sorted { $0.key < $1.key }) { w, entry in
                w.writeU32(entry.key)
                entry.value.encode(into: &w)
            }
        }
    }
}
