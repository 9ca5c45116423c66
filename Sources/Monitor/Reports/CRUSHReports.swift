/// A CRUSH rule: an element of the answer to `osd crush rule dump`.
public struct RuleReport: Report, Hashable, Sendable {
    /// One step; what the operation has no use for is absent.
    public struct Step: Codable, Hashable, Sendable {
        /// What it does.
        public var op: String
        /// The item that is taken.
        public var item: Int32?
        /// Its name.
        public var itemName: String?
        /// How many are chosen, or the value that is set.
        public var num: Int?
        /// The type of what is chosen.
        public var type: String?

        init(op: String, item: Int32? = nil, itemName: String? = nil, num: Int? = nil, type: String? = nil) {
            self.op = op
            self.item = item
            self.itemName = itemName
            self.num = num
            self.type = type
        }
    }

    /// Its number.
    public var ruleId: Int32
    /// Its name.
    public var ruleName: String
    /// Its number once more, as tools of older maps expect it.
    public var ruleset: Int32
    /// 1 for whole copies, 3 for shards.
    public var type: Int
    /// The least size of pools that it is for.
    public var minSize: Int
    /// The largest size of pools that it is for.
    public var maxSize: Int
    /// What it does, in order.
    public var steps: [Step]
}
