//! County → community → school → classroom, and the people in them.

crate::id! {
    /// An education community: a core school and its members.
    CommunityId
}
crate::id! {
    SchoolId
}
crate::id! {
    /// A classroom: a device with a pass of its own.
    ClassroomId
}
