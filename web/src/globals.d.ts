// What esbuild turns into text or files and the type checker cannot know of itself.
declare module "*.graphql" {
  const text: string;
  export default text;
}
declare module "*.css";
