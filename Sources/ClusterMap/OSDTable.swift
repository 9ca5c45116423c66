import CRUSH
import Wire

/// The OSDs of a map by number. Beside the records it keeps what placement asks of every OSD in arrays of their own, so that
/// a mapping looks nothing up by hash and a single group costs no preparation.
public struct OSDTable: Hashable, Sendable {
    /// What placement asks of one OSD.
    struct Traits: Hashable {
        /// Whether an OSD has this number.
        var exists = false
        /// Whether it is up; false for what does not exist.
        var isUp = false
        /// Its primary affinity, 16.16.
        var primaryAffinity = OSDRecord.fullAffinity
    }

    private var records: [OSDRecord?] = []
    private(set) var traits: [Traits] = []
    /// The reweights by number, as CRUSH takes them: what does not exist is out.
    package private(set) var reweights: [CRUSHWeight] = []
    /// How many OSDs there are.
    public private(set) var count = 0
    /// How many of them have a primary affinity below 1: when none has, placement need not look.
    private(set) var reluctant = 0

    /// No OSD.
    public init() {}

    /// True when there is no OSD.
    public var isEmpty: Bool { count == 0 }

    /// The record of an OSD, nil when there is none of this number; setting nil removes it. Numbers are from 0 and below
    /// `MapLimits.osds`: whoever sets one has checked that.
    public subscript(osd: OSDID) -> OSDRecord? {
        get {
            let index = Int(osd.rawValue)
            return index >= 0 && index < records.count ? records[index] : nil
        }
        set {
            let index = Int(osd.rawValue)
            precondition((0..<MapLimits.osds).contains(index), "\(osd) cannot be in a map")
            if index >= records.count {
                guard newValue != nil else { return }
                let missing = index + 1 - records.count
                records.append(contentsOf: repeatElement(nil, count: missing))
                traits.append(contentsOf: repeatElement(Traits(), count: missing))
                reweights.append(contentsOf: repeatElement(.zero, count: missing))
            }
            let old = records[index]
            count += (newValue == nil ? 0 : 1) - (old == nil ? 0 : 1)
            reluctant += (newValue?.isReluctant == true ? 1 : 0) - (old?.isReluctant == true ? 1 : 0)
            records[index] = newValue
            traits[index] =
                newValue.map { Traits(exists: true, isUp: $0.isUp, primaryAffinity: $0.primaryAffinity) } ?? Traits()
            reweights[index] = newValue.map { CRUSHWeight($0.reweight) } ?? .zero
            guard newValue == nil else { return }
            // Equal tables have equal arrays.
            while let last = records.last, last == nil {
                records.removeLast()
                traits.removeLast()
                reweights.removeLast()
            }
        }
    }

    /// The numbers in use, ascending.
    public var keys: [OSDID] { map(\.key) }

    /// The records by ascending number.
    public var values: [OSDRecord] { map(\.value) }

    /// What placement asks of `osd`; of no OSD for a hole or a number that is not in use.
    @inline(__always)
    func traits(of osd: OSDID) -> Traits {
        let index = Int(osd.rawValue)
        return index >= 0 && index < traits.count ? traits[index] : Traits()
    }

    /// True unless the OSD exists and has a reweight above 0.
    @inline(__always)
    func isOut(_ osd: OSDID) -> Bool {
        let index = Int(osd.rawValue)
        return index < 0 || index >= reweights.count || reweights[index] == .zero
    }
}

extension OSDTable: Sequence {
    /// The OSDs by ascending number.
    public struct Iterator: IteratorProtocol {
        private let records: [OSDRecord?]
        private var index = 0

        fileprivate init(_ records: [OSDRecord?]) { self.records = records }

        /// The next OSD.
        public mutating func next() -> (key: OSDID, value: OSDRecord)? {
            while index < records.count {
                defer { index += 1 }
                if let record = records[index] { return (OSDID(Int32(index)), record) }
            }
            return nil
        }
    }

    /// The OSDs by ascending number.
    public func makeIterator() -> Iterator { Iterator(records) }
}
