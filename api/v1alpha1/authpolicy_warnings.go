package v1alpha1

// ConditionWarningFree is an AuthPolicy's: whether nothing in the policy that is in force looks as if its author had not meant it. Its reasons are those below:
// that of the first warning speaks. The message has all warnings, with their paths.
const ConditionWarningFree = "WarningFree"

// The reasons of ConditionWarningFree.
const (
	// ReasonNoWarnings: nothing in the policy looks like a mistake.
	ReasonNoWarnings = "NoWarnings"
	// ReasonAuditMode: nothing is refused for want of authorization, since mode is Audit.
	ReasonAuditMode = "AuditMode"
	// ReasonUnreachableRule: a rule never decides, since earlier ones decide all that it matches.
	ReasonUnreachableRule = "UnreachableRule"
	// ReasonShadowedPath: one path of a rule never decides, since earlier rules decide all that it matches.
	ReasonShadowedPath = "ShadowedPath"
	// ReasonOverlappingRules: a rule that asks for less than a later one decides some of what that one matches.
	ReasonOverlappingRules = "OverlappingRules"
	// ReasonTokensInURLs: tokens are taken from queries, which proxies and browsers write down.
	ReasonTokensInURLs = "TokensInURLs"
	// ReasonSignInPageGuarded: session.serverRendered.signInPath is a page that nobody can see who is not signed in.
	ReasonSignInPageGuarded = "SignInPageGuarded"
)
