import Wire

/// An OSD's report that another is gone, or (in `failureWithdrawn`) that it is not after all.
public struct OSDFailure: Hashable, Sendable {
    /// Why the reporter thinks so.
    public enum Evidence: Hashable, Sendable {
        /// The process is not there any more: its endpoint refuses connections. Proof of its death.
        case refused
        /// No heartbeat was answered for this many milliseconds: it may live, and another must say so too.
        case silent(milliseconds: UInt32)
    }

    /// Who reports.
    public var reporter: OSDID
    /// Who is gone.
    public var target: OSDID
    /// The run of the target that was lost; a later run is not accused.
    public var incarnation: UInt64
    /// Why.
    public var evidence: Evidence

    /// A report with these values.
    public init(reporter: OSDID, target: OSDID, incarnation: UInt64, evidence: Evidence = .refused) {
        self.reporter = reporter
        self.target = target
        self.incarnation = incarnation
        self.evidence = evidence
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        reporter = OSDID(try reader.readI32())
        target = OSDID(try reader.readI32())
        incarnation = try reader.readU64()
        let silence = try reader.readU32()
        evidence = silence == 0 ? .refused : .silent(milliseconds: silence)
    }

    /// The report as bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.writeI32(reporter.rawValue)
        writer.writeI32(target.rawValue)
        writer.writeU64(incarnation)
        switch evidence {
        case .refused: writer.writeU32(0)
        case .silent(let milliseconds): writer.writeU32(max(1, milliseconds))
        }
    }
}
